"""Precision and recall at thresholds, and the choice of a threshold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.contract.results import Detections
from edgevision.evaluation.detection import LabelledImages, read_annotations
from edgevision.evaluation.operating_point import (
    ClassMatches,
    at_thresholds,
    best_threshold,
    choose_thresholds,
    match_detections,
)
from tests.doubles import detector

CLASSES = ("person", "unicorn", "car")
SPEC = replace(detector(), classes=CLASSES)


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledImages:
    """Two images: two persons and a crowd in one, a car in the other."""
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(tmp_path / name), np.zeros((100, 200, 3), np.uint8))
    boxes = [
        {"id": 1, "image_id": 20, "category_id": 7, "bbox": [20, 10, 40, 60], "area": 2400, "iscrowd": 0},
        {"id": 2, "image_id": 20, "category_id": 7, "bbox": [100, 30, 40, 50], "area": 2000, "iscrowd": 0},
        {"id": 3, "image_id": 20, "category_id": 7, "bbox": [150, 0, 50, 30], "area": 1500, "iscrowd": 1},
        {"id": 4, "image_id": 10, "category_id": 3, "bbox": [0, 0, 50, 90], "area": 4500, "iscrowd": 0},
    ]
    images = [
        {"id": 20, "file_name": "a.jpg", "width": 200, "height": 100},
        {"id": 10, "file_name": "b.jpg", "width": 200, "height": 100},
    ]
    categories = [{"id": 3, "name": "car"}, {"id": 7, "name": "person"}]
    file = tmp_path / "truth.json"
    file.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return read_annotations(file, tmp_path, CLASSES)


def found(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, labels = zip(*rows, strict=True)
    return Detections(np.array(boxes, np.float32), np.array(scores, np.float32), np.array(labels, np.int32))


FOUND = [
    (
        20,
        found(
            ([20, 10, 60, 70], 0.9, 0),  # a person
            ([22, 10, 62, 70], 0.8, 0),  # the same one again
            ([155, 5, 180, 25], 0.7, 0),  # in the crowd: neither right nor wrong
            ([100, 30, 140, 80], 0.3, 0),  # the other person
            ([0, 0, 9, 9], 0.6, 1),  # the labels know no unicorn
        ),
    ),
    (10, found(([0, 0, 50, 90], 0.5, 2), ([90, 0, 99, 9], 0.2, 0))),
]


def test_detections_are_matched_once_and_crowds_do_not_count(labelled: LabelledImages) -> None:
    person, car = match_detections(labelled, SPEC, FOUND)
    assert (person.name, car.name) == ("person", "car")
    order = np.argsort(-person.scores)
    assert person.scores[order].tolist() == pytest.approx([0.9, 0.8, 0.3, 0.2])
    assert person.correct[order].tolist() == [True, False, True, False]
    assert (person.boxes.sum(), car.boxes.sum()) == (2, 1)
    # Images are in the order of their ids: 10, 20.
    assert person.images[order].tolist() == [1, 1, 1, 0]
    assert person.boxes.tolist() == [0, 2]


def test_figures_at_a_threshold(labelled: LabelledImages) -> None:
    matches = match_detections(labelled, SPEC, FOUND)
    person, car, everything = at_thresholds(matches, {"person": 0.25, "unicorn": 0.25, "car": 0.6})
    assert (person.boxes, person.detections, person.correct) == (2, 3, 2)
    assert (person.precision, person.recall, person.f1) == pytest.approx((2 / 3, 1.0, 0.8))
    assert (car.precision, car.recall, car.f1) == (None, 0.0, 0.0)
    assert (everything.boxes, everything.detections, everything.correct) == (3, 3, 2)
    assert everything.threshold is None
    assert at_thresholds(matches, dict.fromkeys(CLASSES, 0.5))[2].threshold == 0.5


def test_a_model_that_finds_nothing(labelled: LabelledImages) -> None:
    matches = match_detections(labelled, SPEC, [])
    assert [(one.name, len(one.scores), one.boxes.sum()) for one in matches] == [
        ("person", 0, 2),
        ("car", 0, 1),
    ]
    assert [(each.detections, each.f1) for each in at_thresholds(matches, dict.fromkeys(CLASSES, 0.0))] == [
        (0, 0.0)
    ] * 3
    assert best_threshold(matches[0]) == 0.99


def made(
    right: list[float], wrong: list[float], *, images: int, boxes: int = 1, name: str = "person"
) -> ClassMatches:
    """The same detections in every image."""
    scores = np.tile(np.array(right + wrong), images)
    correct = np.tile(np.array([True] * len(right) + [False] * len(wrong)), images)
    rows = np.repeat(np.arange(images), len(right) + len(wrong))
    return ClassMatches(name, scores, correct, rows, np.full(images, boxes))


def test_a_gap_between_right_and_wrong_is_used_up_to_its_end() -> None:
    """Every threshold from 0.31 to 0.7 gives the same results, so the highest one has no further cost."""
    matches = made([0.7], [0.3], images=30)
    assert best_threshold(matches) == 0.7
    assert best_threshold(matches, slack=0) == 0.31
    (figures, _) = at_thresholds([matches], {"person": 0.7})
    assert figures.f1 == 1.0


def test_slack_buys_precision_only_as_far_as_the_images_cannot_tell() -> None:
    """60 % right among weak detections: F1 is best with them; the more images, the smaller the error allowed."""
    generator = np.random.default_rng(3)

    def sampled(images: int) -> ClassMatches:
        scores = generator.uniform(0, 1, images)
        correct = generator.uniform(0, 1, images) < 0.35 + 0.6 * scores
        return ClassMatches("person", scores, correct, np.arange(images), np.ones(images, np.int64))

    few, many = sampled(40), sampled(4000)
    assert best_threshold(few) > best_threshold(few, slack=0)
    assert best_threshold(many) < best_threshold(few)
    best = {
        slack: at_thresholds([many], {"person": best_threshold(many, slack=slack)})[0] for slack in (0, 1)
    }
    assert best[1].precision is not None
    assert best[0].precision is not None
    assert best[1].precision >= best[0].precision
    assert best[1].f1 == pytest.approx(best[0].f1, abs=0.02)


def test_a_class_with_few_boxes_has_the_threshold_of_all() -> None:
    person = made([0.7], [0.3], images=30)
    car = made([0.2], [], images=30, name="car")
    rare = made([0.95], [], images=30, boxes=0, name="bus")
    rare = ClassMatches("bus", rare.scores[:1], rare.correct[:1], rare.images[:1], np.eye(30, dtype=int)[0])
    chosen, fallback = choose_thresholds([person, car, rare], min_boxes=20)
    assert [(one.name, one.fallback) for one in chosen] == [("person", False), ("car", False), ("bus", True)]
    assert [one.threshold for one in chosen] == [0.7, 0.2, fallback]
    own, _ = choose_thresholds([person, car, rare], min_boxes=1)
    assert (own[2].threshold, own[2].fallback) == (0.95, False)


def test_a_part_of_the_images() -> None:
    matches = made([0.7], [0.3], images=4)
    part = matches.of_images(np.array([True, False, False, True]))
    assert (len(part.scores), part.boxes.sum(), sorted(set(part.images.tolist()))) == (4, 2, [0, 1])
