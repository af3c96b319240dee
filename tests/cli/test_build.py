"""The command `edgevision build`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgevision.cli.root import edgevision as cli

pytest.importorskip("tensorrt_rtx")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    pytest.importorskip("onnx")
    from tests.brightness import write_brightness_bundle

    write_brightness_bundle(tmp_path / "b")
    return tmp_path / "b"


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["build", *map(str, words)])


def test_a_row_for_each_target(bundle: Path) -> None:
    done = run(bundle, "--engine", "tensorrt-rtx", "--sm", "8.9,120")
    assert done.exit_code == 0, done.output
    assert "memory: the build fits" in done.output
    header = next(line for line in done.output.splitlines() if line.startswith("target"))
    assert header.split() == ["target", "graph", "seconds", "bytes", "golden", "frames"]
    assert "SM 8.9   float" in done.output
    assert "SM 12.0  float" in done.output
    assert "the building machine has no GPU of SM 8.9" in done.output
    shown = CliRunner().invoke(cli, ["inspect", str(bundle)]).output
    assert "SM 12.0, float," in shown
    assert "not verified: the building machine has no GPU of SM 12.0" in shown
    again = run(bundle, "--engine", "tensorrt-rtx", "--sm", "89,120")
    assert again.output.count("up to date") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--sm", "abc"),
            "'abc' is not a list of compute capabilities; expected for example 86 or 75,86,89,120",
        ),
        (("--level", "6"), "6 is not in the range 0<=x<=5"),
        (("--precision", "int4"), "'int4' is not one of"),
    ],
)
def test_wrong_options(bundle: Path, words: tuple[str, ...], message: str) -> None:
    done = run(bundle, "--engine", "tensorrt-rtx", *words)
    assert done.exit_code != 0
    assert message in done.output


def test_no_bundle(tmp_path: Path) -> None:
    done = run(tmp_path / "absent", "--engine", "tensorrt-rtx", "--sm", "89")
    assert "no bundle at" in str(done.exception)


@pytest.mark.slow
def test_an_interrupt_ends_a_build_cleanly(tmp_path: Path) -> None:
    from edgevision.export.exporter import ExportOptions, export_bundle
    from edgevision.models.recipe import load_recipe

    bundle = tmp_path / "b"
    export_bundle(load_recipe("yolov5"), ExportOptions(random_weights=True), bundle, lambda _: None)
    words = ["-m", "edgevision", "build", str(bundle), "--engine", "tensorrt-rtx", "--sm", "75,86,89,120"]
    process = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while not process.stderr.readline().startswith("memory:"):
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "edgevision: stopped; the unfinished engine was not written" in errors
    assert "Traceback" not in errors
    left = [path.name for path in (bundle / "engines").iterdir()]
    assert left == [".lock"]
