"""Virtual environments of `benchmarks.peers`."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.peers import environments
from benchmarks.peers.environments import (
    FailedStepError,
    Setup,
    child_variables,
    clone_yolov5,
    open_environment,
    run_step,
    size_mib,
)
from benchmarks.peers.programs import PEERS


def wheel(folder: Path) -> Path:
    """A package of one module with 1 MiB of text."""
    path = folder / "lantern-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("lantern.py", f"light = '{'x' * 2**20}'")
        file.writestr(
            "lantern-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: lantern\nVersion: 1.0\n"
        )
        file.writestr(
            "lantern-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr("lantern-1.0.dist-info/RECORD", "")
    return path


@pytest.mark.slow
def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "requirements", lambda _: ["--no-index", str(wheel(tmp_path))])
    setup = Setup(tmp_path / "environments")
    made = open_environment("lamp", setup)
    assert made.packages["lantern"] == "1.0"
    assert 1 < made.size_mib < 5
    assert (
        run_step([str(made.python), "-c", "import lantern; print(len(lantern.light))"], 30).strip()
        == f"{2**20}"
    )
    monkeypatch.setattr(environments, "_make", lambda *_: pytest.fail("made a second time"))
    assert open_environment("lamp", setup) == made


def test_an_environment_that_fails_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "requirements", lambda _: ["lantern"])
    calls = []

    def step(command: list[str], *_: object) -> str:
        calls.append(command)
        if "pip" in command:
            raise FailedStepError("pip ended with 1: no network")
        return ""

    monkeypatch.setattr(environments, "run_step", step)
    for attempt in (1, 2):
        with pytest.raises(FailedStepError, match="no network"):
            open_environment("lamp", Setup(tmp_path))
        assert len(calls) == 2 * attempt


def test_a_step_that_fails_or_hangs_has_a_reason(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with pytest.raises(FailedStepError, match="ended with 1: no such model"):
        run_step(failing, 30)
    with pytest.raises(FailedStepError, match=r"took more than 0.2 s"):
        run_step([sys.executable, "-c", "import time; time.sleep(9)"], 0.2)
    with pytest.raises(FailedStepError, match="No such file"):
        run_step([str(tmp_path / "absent")], 1)
    with pytest.raises(FailedStepError, match=r"has no detect\.py; expected a clone of https://"):
        clone_yolov5(Setup(tmp_path, yolov5=tmp_path))


def test_sizes_count_files_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(2**20))
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("a")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "pack").write_bytes(bytes(2**20))
    assert size_mib(tmp_path, skip=".git") == pytest.approx(1, abs=1e-3)
    assert size_mib(tmp_path) == pytest.approx(2, abs=1e-3)


def test_a_process_has_no_setting_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    variables = child_variables(tmp_path)
    assert "OMP_NUM_THREADS" not in variables
    assert variables["EDGEVISION_CACHE"] == str(tmp_path / "cache")


def test_every_program_has_an_environment_and_a_runner() -> None:
    folder = Path(environments.__file__).parent / "runners"
    for peer in PEERS:
        assert environments.requirements(peer.environment)
        assert (folder / f"{peer.runner}.py").is_file()
