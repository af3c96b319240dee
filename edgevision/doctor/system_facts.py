"""Collects the machine facts that `edgevision doctor` checks; as a file they can be attached to a bug report."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from edgevision.device.facts import ROOT, DeviceFacts, Fact, device_facts
from edgevision.device.gpu import GpuFacts, gpu_facts
from edgevision.device.opencv_build import OpenCvBuild, opencv_packages
from edgevision.doctor.diagnosis import LOOKED_FOR, is_importable
from edgevision.engines.tensorrt.here import dla_cores
from edgevision.engines.tensorrt.library import is_installed, load_library
from edgevision.engines.tensorrt.versions import MODULES
from edgevision.errors import EdgevisionError, UsageError
from edgevision.sources.feeds.decoders.sample import probe_sample
from edgevision.storage.codec import DecodeError, dataclass_from_json, json_text

SYSTEM_PACKAGES = (
    "libnvinfer8",
    "libnvinfer10",
    "libnvinfer11",
    "python3-libnvinfer",
    "nvidia-jetpack",
    "python3-opencv",
    "libopencv-python",
)
"""System packages that JetPack installs with apt."""


@dataclass(frozen=True, slots=True)
class PowerMode:
    """A mode that nvpmodel can set."""

    number: int
    name: str


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache folder's state."""

    path: str
    free_mib: int
    writable: bool


@dataclass(frozen=True, slots=True)
class VideoDecoder:
    """The decoder that a probe with an encoded sample chose."""

    hardware: str | None
    """Name of the hardware decoder; None: software."""
    reason: str


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """A machine's facts for the doctor's checks."""

    device: DeviceFacts
    gpu: GpuFacts | None
    """As reported by the CUDA driver."""
    opencv: OpenCvBuild
    opencv_packages: tuple[str, ...]
    modules: tuple[str, ...]
    """Importable modules of `LOOKED_FOR`."""
    cameras: tuple[str, ...]
    closed_cameras: tuple[str, ...]
    """Cameras that this user may not open."""
    display: bool
    cache: Cache
    system_packages: tuple[Fact, ...]
    """Installed packages of `SYSTEM_PACKAGES`, from dpkg's list."""
    system_python: str | None
    """Version of ``/usr/bin/python3``, as "3.10", for which JetPack's modules are built."""
    power_modes: tuple[PowerMode, ...]
    swap_mib: int
    dla_cores: int | None = None
    """Number that the installed TensorRT reports; None if it is absent or does not load."""
    video_decoder: VideoDecoder | None = None
    """None in records of earlier versions."""
    recorded: str | None = None
    """Origin of the facts of another machine."""

    @property
    def jetson(self) -> bool:
        """True for a board with Jetson Linux."""
        return self.device.l4t is not None

    def library(self, name: str) -> str | None:
        """The version of a Python distribution, if it is installed."""
        return next((fact.value for fact in self.device.libraries if fact.name == name), None)

    def system_package(self, name: str) -> str | None:
        """The version of one of apt's packages, if it is installed."""
        return next((fact.value for fact in self.system_packages if fact.name == name), None)


def this_machine(cache: Path, root: Path = ROOT) -> SystemFacts:
    """Collect the facts without changing anything. `root` is the root of the file tree."""
    cameras = sorted((root / "dev").glob("video[0-9]*")) if sys.platform == "linux" else []
    gpu = gpu_facts(root)
    return SystemFacts(
        device=device_facts(root),
        gpu=gpu,
        opencv=OpenCvBuild.here(),
        opencv_packages=opencv_packages(),
        modules=tuple(name for name in LOOKED_FOR if is_importable(name)),
        cameras=tuple(map(str, cameras)),
        closed_cameras=tuple(str(path) for path in cameras if not os.access(path, os.R_OK | os.W_OK)),
        display=bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")),
        cache=cache_facts(cache),
        system_packages=system_packages(root),
        system_python=_system_python(root),
        power_modes=power_modes(root),
        swap_mib=_swap_mib(root),
        dla_cores=_dla_cores(gpu),
        video_decoder=_video_decoder(),
    )


def cache_facts(path: Path) -> Cache:
    """Free space and permissions of the cache folder, existing or not; nothing is created."""
    place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    return Cache(str(path), shutil.disk_usage(place).free // 2**20, os.access(place, os.W_OK))


def system_packages(root: Path = ROOT) -> tuple[Fact, ...]:
    """Installed packages of `SYSTEM_PACKAGES`, from dpkg's list."""
    found = []
    for paragraph in _text(root / "var/lib/dpkg/status").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        installed = fields.get("Status", "install ok installed").endswith(" installed")
        if fields.get("Package") in SYSTEM_PACKAGES and installed:
            found.append(Fact(fields["Package"], fields.get("Version", "?")))
    return tuple(found)


def power_modes(root: Path = ROOT) -> tuple[PowerMode, ...]:
    """The modes that ``nvpmodel.conf`` defines, in its order."""
    text = _text(root / "etc/nvpmodel.conf")
    return tuple(
        PowerMode(int(number), name)
        for number, name in re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", text)
    )


def machine_to_json(machine: SystemFacts) -> str:
    """Indented JSON, without host name and addresses; a user name can only occur in the cache path."""
    return json_text(machine)


def read_machine(path: Path) -> SystemFacts:
    """Read the output of `machine_to_json`; raises `UsageError`."""
    try:
        return dataclass_from_json(SystemFacts, json.loads(path.read_bytes()))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, DecodeError) as error:
        raise UsageError(
            f"{path} is not a machine report: {error}; create one with: edgevision doctor --json"
        ) from error


def _video_decoder() -> VideoDecoder:
    choice = probe_sample()
    return VideoDecoder(choice.candidate.name if choice.candidate else None, choice.reason)


def _dla_cores(gpu: GpuFacts | None) -> int | None:
    if gpu is None or not is_installed(MODULES["tensorrt"]):
        return None
    try:
        return dla_cores(load_library("tensorrt", "the doctor"), gpu)
    except EdgevisionError:
        return None


def _system_python(root: Path) -> str | None:
    """The version in the target of the link ``/usr/bin/python3``."""
    try:
        match = re.search(r"python(3\.\d+)$", str((root / "usr/bin/python3").readlink()))
    except OSError:
        return None
    return match[1] if match else None


def _swap_mib(root: Path) -> int:
    match = re.search(r"^SwapTotal:\s*(\d+)", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) // 1024 if match else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
