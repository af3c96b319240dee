"""Data sets of ten tools: training and evaluation read the same, correct boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevision.datasets.boxes import BoxDataset, ClassNames
from edgevision.datasets.coco import image_folder
from edgevision.datasets.opening import LabelReading, read_boxes
from edgevision.evaluation.detection import read_annotations
from tests.datasets.tools import BOXES, CLASSES, SIZES, TOOLS

Labelled = set[tuple[str, str, tuple[float, ...]]]
"""Image, class, x y width height in pixels, rounded."""
EXPECTED: Labelled = {(image, kind, box) for image, kind, box in BOXES}


def learnt(data: BoxDataset) -> Labelled:
    found: Labelled = set()
    for file, boxes in zip(data.files, data.boxes, strict=True):
        width, height = SIZES[file.name]
        for xyxy, label in zip(boxes.xyxy, boxes.labels, strict=True):
            x0, y0, x1, y1 = np.round(xyxy * [width, height, width, height], 2)
            found.add(
                (file.name, data.classes[label], (float(x0), float(y0), float(x1 - x0), float(y1 - y0)))
            )
    return found


def measured(annotations: Path) -> Labelled:
    folder = image_folder(annotations, None) if annotations.suffix == ".json" else annotations
    labelled = read_annotations(annotations, folder, CLASSES)
    names = {c["id"]: c["name"] for c in labelled.coco.dataset["categories"]}
    assert all(path.is_file() for path in labelled.files.values())
    return {
        (
            labelled.files[a["image_id"]].name,
            str(names[a["category_id"]]),
            tuple(round(float(v), 2) for v in a["bbox"]),
        )
        for a in labelled.coco.loadAnns(labelled.coco.getAnnIds())
    }


@pytest.mark.parametrize("tool", TOOLS)
def test_training_and_measuring_read_a_tool_s_data_alike(tool: str, tmp_path: Path) -> None:
    path = TOOLS[tool](tmp_path / "data")
    data = read_boxes(path, LabelReading(wanted=ClassNames(CLASSES)))
    assert learnt(data) == EXPECTED
    assert measured(path) == EXPECTED
    assert (tool == "datumaro") == any("duplicate id" in warning for warning in data.warnings)
    assert read_annotations_warnings(path) == data.warnings


def read_annotations_warnings(path: Path) -> tuple[str, ...]:
    folder = image_folder(path, None) if path.suffix == ".json" else path
    return read_annotations(path, folder, CLASSES).warnings
