"""`edgevision eval --write-thresholds`, and the commands that use the operating point."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

import edgevision as package
from edgevision.bundle.folder import Bundle
from edgevision.cli import accuracy
from edgevision.cli.root import edgevision
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.thresholds import ClassThresholds
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError

LEVELS = range(60, 220, 4)
"""Brightness of the images, and so 255 times the score of the one detection in each."""
LIT = 140
"""Images from this brightness on have a labelled lamp."""


@pytest.fixture
def bundle(brightness_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test model, which has no score threshold inside that `eval` could lower."""

    def opened(path: Path, *, engine: str | None, options: SessionOptions) -> Session:
        return open_session(path, engine=engine, options=replace(options, score_floor=None))

    monkeypatch.setattr(accuracy, "open_session", opened)
    return Path(shutil.copytree(brightness_bundle, tmp_path / "lamp"))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    images, boxes = [], []
    (tmp_path / "images").mkdir()
    for number, level in enumerate(LEVELS):
        cv2.imwrite(str(tmp_path / "images" / f"{level}.png"), np.full((64, 64, 3), level, np.uint8))
        images.append({"id": number, "file_name": f"{level}.png", "width": 64, "height": 64})
        if level >= LIT:
            box = {"bbox": [16, 16, 32, 32], "area": 1024, "iscrowd": 0, "category_id": 1}
            boxes.append({"id": number + 1, "image_id": number, **box})
    file = tmp_path / "labels.json"
    categories = [{"id": 1, "name": "lamp"}]
    file.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(edgevision, [str(argument) for argument in arguments])


def measured(bundle: Path, labels: Path, *options: object) -> Result:
    data = ("--images", labels.parent / "images", "--annotations", labels, "--engine", "onnxruntime")
    return run("eval", bundle, *data, *options)


def row(result: Result, name: str) -> list[str]:
    """The last line of that class."""
    return next(line.split() for line in reversed(result.stdout.splitlines()) if line.startswith(name))


def test_thresholds_are_measured_stored_and_used(bundle: Path, labels: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    result = measured(bundle, labels, "--write-thresholds", "--record", record)
    assert result.exit_code == 0, result.output
    point = Bundle.open(bundle).operating_point
    assert point is not None
    (lamp,) = point.classes
    # Between the brightest dark image and the darkest one with a lamp.
    assert 136 / 255 < lamp.threshold <= 140 / 255
    assert (lamp.precision, lamp.recall, lamp.f1, lamp.boxes, lamp.fallback) == (1.0, 1.0, 1.0, 20, False)
    assert (point.images, point.data, point.library.split()[0]) == (40, "labels.json", "onnxruntime")
    assert row(result, "lamp") == ["lamp", "20", f"{lamp.threshold:.2f}", "100.0", "100.0", "100.0"]
    assert f"wrote the operating point to {bundle}" in result.stdout
    assert json.loads(record.read_text())["operating_point"]["classes"][0]["threshold"] == lamp.threshold
    again = measured(bundle, labels)
    assert "at the operating point of the bundle" in again.stdout
    assert row(again, "lamp")[2:] == [f"{lamp.threshold:.2f}", "100.0", "100.0", "100.0"]


def test_figures_at_a_given_threshold(bundle: Path, labels: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    result = measured(bundle, labels, "--threshold", 0.25, "--record", record)
    # 39 images are brighter than 0.25 of white, all but the first; 20 of them have a lamp.
    assert "confidence threshold at 0.25" in result.stdout
    assert row(result, "lamp") == ["lamp", "20", "0.25", "51.3", "100.0", "67.8"]
    (lamp, everything) = json.loads(record.read_text())["at_threshold"]
    assert (lamp["detections"], lamp["correct"], everything["name"]) == (39, 20, "all")
    assert Bundle.open(bundle).operating_point is None


def test_without_an_operating_point_eval_prints_no_threshold(bundle: Path, labels: Path) -> None:
    result = measured(bundle, labels)
    assert result.exit_code == 0, result.output
    assert "precision" not in result.stdout


def test_a_run_uses_it_and_says_so(bundle: Path, labels: Path, tmp_path: Path) -> None:
    images, lines = labels.parent / "images", tmp_path / "lines.jsonl"

    def detections(*options: object) -> tuple[int, str]:
        done = run("run", bundle, images, "--jsonl", lines, "--engine", "onnxruntime", *options)
        assert done.exit_code == 0, done.output
        found = [json.loads(line)["detections"] for line in lines.read_text().splitlines()]
        return sum(map(len, found)), done.stderr

    count, said = detections()
    assert (count, "confidence threshold" in said) == (39, False)
    assert measured(bundle, labels, "--write-thresholds").exit_code == 0
    count, said = detections()
    assert count == 20
    (line,) = (line for line in said.splitlines() if line.startswith("confidence thresholds"))
    assert line.startswith("confidence thresholds of the bundle: lamp 0.5")
    assert line.endswith("; --threshold replaces them")
    count, said = detections("--threshold", 0.25)
    assert (count, "confidence thresholds" in said) == (39, False)
    with package.load(bundle, engine="onnxruntime") as model:
        files = [*sorted(images.iterdir())]
        assert isinstance(model.threshold, ClassThresholds)
        assert sum(map(len, model(files))) == 20
        assert sum(len(prediction) for _, prediction in model.stream(images)) == 20
        assert sum(map(len, model(files, threshold=0.25))) == 39


def test_explain_uses_it(bundle: Path, labels: Path, tmp_path: Path) -> None:
    assert measured(bundle, labels, "--write-thresholds").exit_code == 0
    image = labels.parent / "images" / "100.png"
    arguments = ("explain", bundle, image, "-o", tmp_path / "map.png", "--masks", 8)
    result = run(*arguments, "--engine", "onnxruntime")
    assert isinstance(result.exception, UsageError)
    assert "answered 0 detections of score 0.5" in str(result.exception)
    assert run(*arguments, "--engine", "onnxruntime", "--threshold", 0.25).exit_code == 0


@pytest.mark.parametrize("option", [("--write-thresholds",), ("--threshold", 0.5)])
def test_tasks_without_boxes_have_no_threshold(bundle: Path, labels: Path, option: tuple[Any, ...]) -> None:
    images = labels.parent / "images"
    for masks in ((), ("--annotations", images)):
        result = run("eval", bundle, "--images", images, *masks, *option)
        assert isinstance(result.exception, UsageError)
        assert str(result.exception).startswith(f"{option[0]} is for models with boxes")


@pytest.mark.parametrize("options", [(), ("--write-thresholds",)])
def test_text_labels_without_class_names_are_not_taken_for_masks(
    bundle: Path, labels: Path, options: tuple[str, ...]
) -> None:
    texts = labels.parent / "labels"
    texts.mkdir()
    (texts / "60.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    result = run("eval", bundle, "--images", labels.parent / "images", "--annotations", texts, *options)
    assert isinstance(result.exception, UsageError)
    assert "no class names; expected a data.yaml, or the folder that contains images/, labels/ and" in str(
        result.exception
    )


def test_labels_without_boxes_store_nothing(bundle: Path, labels: Path) -> None:
    content = json.loads(labels.read_text())
    labels.write_text(json.dumps({**content, "annotations": []}))
    result = measured(bundle, labels, "--write-thresholds")
    assert isinstance(result.exception, UsageError)
    assert "so no threshold can be chosen; nothing was stored" in str(result.exception)
    assert Bundle.open(bundle).operating_point is None


def test_a_bare_graph_cannot_store_it(bundle: Path, labels: Path) -> None:
    result = measured(bundle / "model.onnx", labels, "--write-thresholds")
    assert isinstance(result.exception, UsageError)
    assert "cannot store an operating point; expected a bundle" in str(result.exception)
