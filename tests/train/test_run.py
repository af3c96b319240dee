"""Whole runs of tiny networks: folder, resume, early stop, mistakes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import safetensors
from click.testing import CliRunner, Result

from edgevision.cli import train as cli
from edgevision.cli.root import edgevision
from edgevision.errors import EdgevisionError

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:lightning", "ignore::FutureWarning:lightning"
)


def train(*arguments: object) -> Result:
    return CliRunner().invoke(edgevision, ["train", *map(str, arguments), "--device", "cpu"])


def succeeded(result: Result) -> None:
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def without_clock(run: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in ("ms_per_step", "minutes")} for row in rows(run)]


def test_a_classifier_learns_and_fills_its_folder(class_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    succeeded(train("cnn", "--data", class_data, "--size", 16, "--batch", 8, "--epochs", 8, "-o", run))
    assert {path.name for path in run.iterdir()} == {
        "best.safetensors",
        "config.json",
        "curves.png",
        "last.ckpt",
        "metrics.csv",
    }
    table = rows(run)
    assert [float(row["epoch"]) for row in table] == list(range(1, 9))
    assert float(table[-1]["loss"]) < 0.6 * float(table[0]["loss"])
    assert float(table[-1]["top1"]) > 90
    with safetensors.safe_open(str(run / "best.safetensors"), "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["names"]) == ["disc", "square"]
    assert metadata["recipe"] == "cnn"
    assert json.loads(metadata["size"]) == [16, 16]
    picture = cv2.imread(str(run / "curves.png"))
    assert picture is not None
    assert picture.std() > 5


def test_a_detector_writes_its_measurements(box_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--data", box_data, "--classes", "sun=yellow,blue", "--size", 64, "--batch", 6, "--epochs", 3)
    succeeded(train("yolov5", *options, "-o", run))
    table = rows(run)
    assert set(table[-1]) > {"AP", "AP50", "loss", "box", "objectness", "classes"}
    assert table[0]["AP50"] == ""
    assert table[-1]["AP50"] != ""
    with safetensors.safe_open(str(run / "best.safetensors"), "pt") as file:
        assert json.loads(file.metadata()["names"]) == ["sun", "blue"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_detector_learns_its_own_images(many_boxes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--data", many_boxes, "--held", many_boxes, "--size", 96, "--batch", 8, "--epochs", 60)
    succeeded(train("yolov5", *options, "-o", run))
    best = max(float(row["AP50"]) for row in rows(run) if row["AP50"])
    assert best > 60, "76 and 87 were seen; chance gives none"


class StoppedError(Exception):
    """Stands for the kill."""


def killing(after: int) -> Callable[[str], None]:
    """A report that dies in epoch `after`, before its checkpoint is written."""

    def report(line: str) -> None:
        if line.startswith(f"epoch {after} "):
            raise StoppedError

    return report


@pytest.mark.parametrize(("recipe", "size"), [("cnn", 16), ("yolov5", 64)])
def test_a_killed_run_resumes_to_the_same_end(
    recipe: str,
    size: int,
    class_data: Path,
    box_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = class_data if recipe == "cnn" else box_data
    options = (recipe, "--data", data, "--size", size, "--batch", 4, "--epochs", 3)
    succeeded(train(*options, "-o", tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(cli, "_report", killing(2))
        assert isinstance(train(*options, "-o", tmp_path / "killed").exception, StoppedError)
    assert len(rows(tmp_path / "killed")) == 2
    succeeded(train(recipe, "--resume", "-o", tmp_path / "killed"))
    assert without_clock(tmp_path / "killed") == without_clock(tmp_path / "whole")


def test_the_clock_ends_a_run(class_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    succeeded(train("cnn", "--data", class_data, "--size", 16, "--batch", 8, "--minutes", 0.05, "-o", run))
    assert float(rows(run)[-1]["share"]) == 1
    assert "top1" in rows(run)[-1]
    assert 0.05 <= float(rows(run)[-1]["minutes"]) < 0.5


def test_patience_ends_a_run_early(class_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--size", 16, "--batch", 8, "--epochs", 200, "--patience", 2)
    succeeded(train("cnn", "--data", class_data, *options, "-o", run))
    table = rows(run)
    assert len(table) < 100
    measured = [float(row["top1"]) for row in table if row["top1"]]
    assert max(measured[-2:]) <= max(measured[:-2])


def failed(result: Result) -> str:
    assert isinstance(result.exception, EdgevisionError), repr(result.exception)
    return str(result.exception)


def test_mistakes(class_data: Path, box_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert "--data PATH" in failed(train("cnn", "--epochs", 1, "-o", run))
    assert "--epochs N or --minutes N" in failed(train("cnn", "--data", class_data, "-o", run))
    one = ("--epochs", 1, "-o", run)
    assert "multiple of 32" in failed(train("yolov5", "--data", box_data, "--size", 60, *one))
    assert "'q' is not one of 'n'" in failed(train("yolov5", "--data", box_data, "--model", "q", *one))
    assert "none of the classes bus" in failed(train("yolov5", "--data", box_data, "--classes", "bus", *one))
    assert "not one of blue, yellow" in failed(train("yolov5", "--data", box_data, "--monitor", "car", *one))
    assert "neither a folder nor a zip" in failed(train("cnn", "--data", box_data, *one))
    assert "neither a COCO .json" in failed(train("yolov5", "--data", tmp_path / "no.json", *one))
    assert "not a run that can be resumed" in failed(train("cnn", "--resume", "-o", run))
    assert not run.exists()


def test_a_run_folder_is_not_overwritten_and_not_resumed_by_another_recipe(
    class_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ("cnn", "--data", class_data, "--size", 16, "--epochs", 1, "-o", run)
    succeeded(train(*options))
    before = (run / "last.ckpt").read_bytes()
    assert "holds a run already" in failed(train(*options))
    assert "started with recipe cnn" in failed(train("resnet", "--resume", "-o", run))
    assert (run / "last.ckpt").read_bytes() == before


def test_two_processes_train_together(class_data: Path, tmp_path: Path) -> None:
    """Lightning starts the second process from the command line, so this one is a process too."""
    run = tmp_path / "run"
    words = ["train", "cnn", "--data", class_data, "--size", 16, "--batch", 8, "--epochs", 3, "-o", run]
    words += ["--device", "cpu", "--devices", 2]
    done = subprocess.run(
        [sys.executable, "-m", "edgevision", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [float(row["step"]) for row in rows(run)] == [6, 12, 18]
