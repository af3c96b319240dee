"""Virtual environments of the peers, one each, made once and kept in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgevision.storage import atomic

REPOSITORY = Path(__file__).resolve().parents[2]
YOLOV5_ADDRESS = "https://github.com/ultralytics/yolov5"
YOLOV5_COMMIT = "5081342f04fb287fc2e5f2b5a4e06752b7937b1c"
READY = "ready.json"
OFFLINE = {
    "YOLO_OFFLINE": "true",  # no look-ups of newer versions, which would add to the start
    "YOLO_AUTOINSTALL": "false",
    "PYTHONUNBUFFERED": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
DROPPED = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VIRTUAL_ENV",
    "PYTHONDONTWRITEBYTECODE",
)
"""Variables that change the number of threads or the packages of a tool, or that keep it from storing byte code."""


class FailedStepError(Exception):
    """A step of a peer failed; the message is the reason in the table."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Where and how the environments are made."""

    folder: Path
    yolov5: Path | None = None
    """A clone of YOLOv5; None: it is cloned."""
    constraints: tuple[Path, ...] = ()
    find_links: tuple[str, ...] = ()
    timeout_s: float = 1800.0

    @property
    def program(self) -> Path:
        """Folder of YOLOv5."""
        return self.yolov5 or self.folder / "yolov5"

    @property
    def pip_options(self) -> list[str]:
        """Further options of pip."""
        options = [word for path in self.constraints for word in ("--constraint", str(path))]
        return options + [word for place in self.find_links for word in ("--find-links", place)]


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is ready."""

    name: str
    python: Path
    installed: tuple[str, ...]
    """The command that installed it, without paths of this machine."""
    packages: dict[str, str] = field(default_factory=dict)
    """Versions by package."""
    size_mib: float = 0.0
    """All files, without pip and setuptools."""


def requirements(name: str) -> list[str]:
    """What pip installs; ONNX Runtime and OpenVINO have the versions of the environment that runs this program."""
    runtime, openvino = (f"{package}=={version_here(package)}" for package in ("onnxruntime", "openvino"))
    return {
        "edgevision": [f"{REPOSITORY}[cpu,openvino]"],
        "ultralytics": ["ultralytics==8.4.190", "onnx", "onnxslim", runtime, openvino],
        "yolov5": ["--requirement", "requirements.txt", "onnx", "onnxscript", runtime, openvino],
        "opencv": ["opencv-python-headless", "numpy"],
        "onnxruntime": ["opencv-python-headless", "numpy", runtime],
        "supervision": ["supervision==0.31.2", "opencv-python-headless", runtime],
    }[name]


def version_here(package: str) -> str:
    """The version that is installed here."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise SystemExit(f"{package} is not installed; install '.[cpu,openvino,export,quantize]'") from error


def open_environment(name: str, setup: Setup) -> Environment:
    """The environment of that name; makes it if it is not in the folder. Raises `FailedStepError`."""
    if name == "yolov5":
        clone_yolov5(setup)
    wanted = requirements(name)
    constraints = [path.read_text() for path in setup.constraints]
    key = json.dumps([wanted, platform.python_version(), constraints, list(setup.find_links)])
    home = setup.folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    setup.folder.mkdir(parents=True, exist_ok=True)
    with _locked(setup.folder / f"{home.name}.lock"):
        if not (home / READY).exists():
            _make(name, home, wanted, setup)
    facts = json.loads((home / READY).read_text())
    return Environment(
        name, home / "bin" / "python", tuple(facts["command"]), facts["packages"], facts["mib"]
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Exclude another process that makes the same environment."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(name: str, home: Path, wanted: list[str], setup: Setup) -> None:
    began_s = time.perf_counter()
    print(f"  making {home} (some minutes)", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    run_step([sys.executable, "-m", "venv", str(home)], setup.timeout_s)
    python = home / "bin" / "python"
    # pip's own files are not counted, because pip is no part of what a device needs
    bare_mib = size_mib(home)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    where = setup.program if name == "yolov5" else REPOSITORY
    run_step([*pip, *setup.pip_options, *wanted], setup.timeout_s, where)
    listed = run_step([str(python), "-m", "pip", "list", "--format", "json"], setup.timeout_s)
    found = json.loads(listed[listed.index("[{") :])
    program_mib = size_mib(setup.program, skip=".git") if name == "yolov5" else 0.0
    facts = {
        "command": ["pip", "install", *(word.replace(f"{REPOSITORY}", ".") for word in wanted)],
        "packages": {one["name"]: one["version"] for one in found},
        "mib": round(size_mib(home) - bare_mib + program_mib, 1),
        "seconds": round(time.perf_counter() - began_s, 1),
    }
    atomic.write_file(home / READY, (json.dumps(facts, indent=1) + "\n").encode())


def clone_yolov5(setup: Setup) -> None:
    """Clone YOLOv5 at the pinned commit, unless a clone is given. Raises `FailedStepError`."""
    if setup.yolov5 is not None:
        if not (setup.yolov5 / "detect.py").is_file():
            raise FailedStepError(
                f"--yolov5 {setup.yolov5} has no detect.py; expected a clone of {YOLOV5_ADDRESS}"
            )
        return
    if (setup.program / "detect.py").is_file():
        return
    setup.folder.mkdir(parents=True, exist_ok=True)
    draft = setup.folder / "yolov5.draft"
    shutil.rmtree(draft, ignore_errors=True)
    run_step(["git", "clone", "--quiet", YOLOV5_ADDRESS, str(draft)], setup.timeout_s)
    run_step(["git", "-C", str(draft), "checkout", "--quiet", YOLOV5_COMMIT], setup.timeout_s)
    draft.rename(setup.program)


def yolov5_commit(setup: Setup) -> str:
    """The commit of the clone."""
    try:
        return run_step(["git", "-C", str(setup.program), "rev-parse", "HEAD"], 30).strip()
    except FailedStepError:
        return "unknown"


def size_mib(folder: Path, skip: str | None = None) -> float:
    """Size of all files; a hard link counts once, a link does not."""
    seen: dict[tuple[int, int], int] = {}
    for root, folders, names in os.walk(folder):
        folders[:] = [one for one in folders if one != skip]
        for name in names:
            stat = (Path(root) / name).lstat()
            seen[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(seen.values()) / 2**20


def child_variables(work: Path) -> dict[str, str]:
    """Environment variables of a process of a peer."""
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    places = {
        "YOLO_CONFIG_DIR": str(work / "settings"),
        "EDGEVISION_CACHE": str(work / "cache"),
        "PYTHONPATH": str(REPOSITORY),
    }
    return {**kept, **OFFLINE, **places}


def run_step(
    command: list[str], timeout_s: float, where: Path | None = None, variables: dict[str, str] | None = None
) -> str:
    """Run a command; returns its standard output. Raises `FailedStepError` with its last line."""
    shown = " ".join(Path(word).name if word.startswith("/") else word for word in command[:6])
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_s, cwd=where, env=variables
        )
    except subprocess.TimeoutExpired as error:
        raise FailedStepError(f"{shown} took more than {timeout_s:g} s") from error
    except OSError as error:
        raise FailedStepError(f"{shown}: {error.strerror}") from error
    if done.returncode != 0:
        raise FailedStepError(
            f"{shown} ended with {done.returncode}: {last_line(done.stderr or done.stdout)}"
        )
    return done.stdout


def last_line(text: str) -> str:
    """The last line with content, without the colours of a terminal."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"
