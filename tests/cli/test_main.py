"""Exit codes, and one line for a mistake."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgevision.bundle.folder import Golden, write_bundle
from edgevision.cli import main
from edgevision.cli.root import COMMANDS
from edgevision.contract.spec import FrameInput, ModelSpec, Provenance, classify_outputs


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line as the console script starts it, in this process: a process each would cost seconds."""

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["edgevision", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, printed.out, printed.err)

    return call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["export", "yolov5"], "Missing option '-o'"),
        (["export", "yolov5", "-o", "b", "--size", "big"], "is not a size"),
        (["export", "yolov5", "-o", "b", "--batch", "4:1"], "is neither N nor MIN:OPT:MAX"),
        (["export", "yolo", "-o", "b"], "no recipe named 'yolo'"),
        (["export", "yolov5", "-o", "b"], "needs --checkpoint FILE"),
        (["export", "yolov5", "-o", "b", "--random-weights", "--size", "100x64"], "needs multiples of 32"),
        (["export", "yolov5", "-o", "b", "--pre-nms-topk", "9999", "--random-weights"], "exceeds 3840"),
        (["export", "nowhere.pt", "-o", "b"], "nowhere.pt: no such file"),
        (["export", "model.onnx", "-o", "b"], "run `edgevision adopt model.onnx -o BUNDLE`"),
        (["export", "yolo26n", "-o", "b"], "did you mean yolo26?"),
        (["verify", "nowhere"], "no bundle at nowhere"),
        (["inspect", "nowhere"], "no bundle at nowhere"),
        (["eval", "nowhere", "--images", "none"], "is not a folder"),
    ],
)
def test_a_mistake_is_reported_without_a_traceback(run: Run, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version(run: Run) -> None:
    assert run("--help").returncode == 0
    assert run("--version").stdout.startswith("edgevision, version")
    for name in COMMANDS:
        assert run(name, "--help").returncode == 0


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    spec = ModelSpec(
        "m",
        "classify",
        FrameInput((8, 8)),
        classify_outputs(2),
        ("a", "b"),
        Provenance("m.pt", None, "cnn", "2026"),
    )
    golden = Golden(np.zeros((1, 8, 8, 3), np.uint8), (np.full((1, 2), 0.5, np.float32),))
    return write_bundle(tmp_path / "b", spec, b"not a graph", golden).path


def test_inspect_shows_the_contents_of_a_bundle(run: Run, bundle: Path) -> None:
    done = run("inspect", bundle)
    assert done.returncode == 0
    assert "m: classify, 2 classes (a, b)" in done.stdout
    assert "not verified" in done.stdout
    assert json.loads(run("inspect", bundle, "--json").stdout)["spec"]["task"] == "classify"


def test_a_graph_that_does_not_open_is_one_line(run: Run, bundle: Path) -> None:
    done = run("verify", bundle)
    assert done.returncode == 1
    assert "cannot open" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_reported_to_a_library_s_maker(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "")  # so that it is put back as it was
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    assert run("--version").returncode == 0
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")  # one who wants it may have it
    run("--version")
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"


def test_help_lists_options_by_what_they_concern(run: Run) -> None:
    text = run("run", "--help").stdout
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Model:",
        "Live sources:",
        "Analytics:",
        "Batches and latency:",
        "Outputs:",
        "Options:",
    ]
    assert text.index("--max-age-ms") > text.index("Batches and latency:")
