"""Whole runs of tiny networks: folder, resume, early stop, mistakes."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors
from click.testing import CliRunner, Result

from edgevision.cli.commands import train as cli
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
    options = ("--data", many_boxes, "--val", many_boxes, "--size", 96, "--batch", 8, "--epochs", 60)
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
    other = failed(train("cnn", "--data", class_data, "--model", "resnet18", *one))
    assert "not of the recipe's family cnn; for this model run: edgevision train resnet" in other
    other = failed(train("unet", "--data", class_data, "--model", "segformer", *one))
    assert "not of the recipe's family unet; for this model run: edgevision train segformer" in other
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
    assert "already holds a run" in failed(train(*options))
    assert "started with recipe cnn" in failed(train("resnet", "--resume", "-o", run))
    assert (run / "last.ckpt").read_bytes() == before


@pytest.mark.exhaustive
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


def broken_picture(folder: Path, like: Path) -> None:
    data = like.read_bytes()
    (folder / "broken.png").write_bytes(data[: len(data) // 2])


def test_training_uses_the_parts_of_a_data_yaml(tmp_path: Path) -> None:
    """End to end, by the numbers of images and boxes that are reported at the start."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 3)):
        for place in ("images", "labels"):
            (tmp_path / "set" / place / part).mkdir(parents=True)
        for number in range(count):
            image = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "set" / "images" / part / f"{number}.png"), image)
            rows = [f"{k % 2} {0.3 + 0.1 * k} 0.5 0.3 {0.2 + 0.05 * number}" for k in range(2)]
            (tmp_path / "set" / "labels" / part / f"{number}.txt").write_text("\n".join(rows))
    yaml = tmp_path / "set" / "data.yaml"
    yaml.write_text("path: .\ntrain: images/train\nval: images/val\nnames: {0: sun, 1: moon}\n")
    run = tmp_path / "run"
    done = train("yolov5", "--data", yaml, "--size", 64, "--batch", 4, "--epochs", 1, "-o", run)
    succeeded(done)
    assert "8 images, boxes: sun 8, moon 8" in done.stderr
    assert f"held: 3 images, boxes: sun 3, moon 3; the split of {yaml}: train and val" in done.stderr


def test_a_held_part_without_a_box_is_reported_at_the_start(box_data: Path, tmp_path: Path) -> None:
    held = tmp_path / "held"
    (held / "images").mkdir(parents=True)
    (held / "labels").mkdir()
    cv2.imwrite(str(held / "images" / "a.png"), np.zeros((64, 64, 3), np.uint8))
    (held / "classes.txt").write_text("blue\nyellow\n")
    run = tmp_path / "run"
    options = ("--data", box_data, "--val", held, "--size", 64, "--batch", 6, "--epochs", 1)
    done = train("yolov5", *options, "-o", run)
    succeeded(done)
    assert "WARNING: the validation data has no labelled box" in done.stderr
    assert "-100" not in done.stderr
    assert (run / "best.safetensors").is_file()


def test_a_broken_image_is_reported_at_the_start(class_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(class_data, data)
    folder = next(path for path in (data / "train").iterdir() if path.is_dir())
    broken_picture(folder, next(folder.iterdir()))
    run = tmp_path / "run"
    words = failed(train("cnn", "--data", data, "--size", 16, "--batch", 8, "--epochs", 1, "-o", run))
    assert "images cannot be decoded, at most 1 % may be skipped" in words
    assert "broken.png" in words
    assert not run.exists()
