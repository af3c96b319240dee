"""COCO's metrics through a session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.contract.results import Detections
from edgevision.contract.session import ReplaySession
from edgevision.contract.spec import FrameInput, ModelSpec, NmsSpec, Provenance, detect_outputs
from edgevision.errors import SourceError, UsageError
from edgevision.evaluation.detection import accuracy_from_detections, detect_all, read_annotations

CLASSES = ("person", "unicorn", "car")
"""The annotations know no unicorn, and number their categories otherwise."""


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(tmp_path / name), np.zeros((100, 200, 3), np.uint8))
    boxes = [
        {"id": 1, "image_id": 10, "category_id": 7, "bbox": [20, 10, 40, 60], "area": 2400, "iscrowd": 0},
        {"id": 2, "image_id": 10, "category_id": 3, "bbox": [100, 30, 80, 50], "area": 4000, "iscrowd": 0},
        {"id": 3, "image_id": 20, "category_id": 7, "bbox": [0, 0, 50, 90], "area": 4500, "iscrowd": 0},
        {"id": 4, "image_id": 20, "category_id": 9, "bbox": [90, 10, 50, 50], "area": 2500, "iscrowd": 0},
    ]
    images = [
        {"id": 10, "file_name": "a.jpg", "width": 200, "height": 100},
        {"id": 20, "file_name": "b.jpg", "width": 200, "height": 100},
    ]
    categories = [{"id": 3, "name": "car"}, {"id": 7, "name": "person"}, {"id": 9, "name": "dog"}]
    file = tmp_path / "truth.json"
    file.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return file


def found(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int32),
        CLASSES,
    )


PERFECT = [
    (10, found(([20, 10, 60, 70], 0.9, 0), ([100, 30, 180, 80], 0.8, 2))),
    (20, found(([0, 0, 50, 90], 0.9, 0))),
]


def test_perfect_outputs_score_100(truth: Path) -> None:
    labelled = read_annotations(truth, truth.parent, CLASSES)
    accuracy = accuracy_from_detections(labelled, PERFECT)
    assert (accuracy.images, accuracy.boxes) == (2, 3)
    assert (accuracy.ap, accuracy.ap50, accuracy.recall100) == pytest.approx((100, 100, 100))
    assert [(c.name, c.boxes) for c in accuracy.classes] == [("car", 1), ("person", 2)]
    assert [c.ap50 for c in accuracy.classes] == pytest.approx([100, 100])


def test_a_missed_class_costs_its_share(truth: Path) -> None:
    labelled = read_annotations(truth, truth.parent, CLASSES)
    without_car = [(10, PERFECT[0][1][:1]), PERFECT[1]]
    accuracy = accuracy_from_detections(labelled, without_car)
    assert accuracy.ap50 == pytest.approx(50)
    assert {c.name: c.ap50 for c in accuracy.classes} == pytest.approx({"car": 0, "person": 100})


def test_a_wrong_label_is_no_hit_and_an_unknown_class_is_left_out(truth: Path) -> None:
    labelled = read_annotations(truth, truth.parent, CLASSES)
    accuracy = accuracy_from_detections(
        labelled, [(10, found(([20, 10, 60, 70], 0.9, 2), ([0, 0, 9, 9], 0.9, 1)))]
    )
    assert accuracy.ap50 == 0


def test_classes_missing_from_the_model_are_reported(truth: Path) -> None:
    assert read_annotations(truth, truth.parent, CLASSES).left_out == ("dog",)


def test_other_names_of_the_same_class_match(truth: Path) -> None:
    truth.write_text(truth.read_text().replace('"dog"', '"motorbike"'))
    labelled = read_annotations(truth, truth.parent, ("person", "motorcycle", "car"))
    assert labelled.category_of_label == (7, 9, 3)
    assert labelled.left_out == ()


def test_no_detections_at_all(truth: Path) -> None:
    labelled = read_annotations(truth, truth.parent, CLASSES)
    assert accuracy_from_detections(labelled, []).ap == 0


def test_boxes_are_mapped_back_through_the_letterbox(truth: Path) -> None:
    """The model's input is 100x100: frames of 200x100 are halved and padded above and below by 25."""
    spec = ModelSpec(
        "m",
        "detect",
        FrameInput((100, 100)),
        detect_outputs(2),
        CLASSES,
        Provenance("m.pt", None, "r", "2026"),
        NmsSpec(candidates=2, max_detections=2),
    )
    first = (
        np.array([[[10, 30, 30, 60], [50, 40, 90, 65]]], np.float32),
        np.array([[0.9, 0.8]], np.float32),
        np.array([[0, 2]], np.int32),
    )
    second = (
        np.array([[[0, 25, 25, 70], [0, 0, 0, 0]]], np.float32),
        np.array([[0.9, 0]], np.float32),
        np.array([[0, 0]], np.int32),
    )
    labelled = read_annotations(truth, truth.parent, CLASSES)
    detections = list(detect_all(ReplaySession(spec, [first, second]), labelled))
    assert [image_id for image_id, _ in detections] == [10, 20]
    assert accuracy_from_detections(labelled, detections).ap == pytest.approx(100)


def test_limit_takes_the_first_images(truth: Path) -> None:
    labelled = read_annotations(truth, truth.parent, CLASSES, limit=1)
    assert labelled.image_ids == (10,)
    assert accuracy_from_detections(labelled, PERFECT[:1]).boxes == 2


def test_no_class_in_common(truth: Path) -> None:
    with pytest.raises(UsageError, match="share no class name; annotations: car, person, dog; model: 0, 1"):
        read_annotations(truth, truth.parent, ("0", "1"))


def test_a_missing_image_is_named(truth: Path) -> None:
    (truth.parent / "b.jpg").unlink()
    with pytest.raises(SourceError, match=r"b\.jpg is named by .* and does not exist"):
        read_annotations(truth, truth.parent, CLASSES)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"images": 1, "annotations": [], "categories": []}'])
def test_what_is_not_an_annotation_file(tmp_path: Path, content: Any) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UsageError, match=r"x\.json"):
        read_annotations(tmp_path / "x.json", tmp_path, CLASSES)
