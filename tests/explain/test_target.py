"""Selection of the result to explain, and its similarity to other results."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.contract.results import Outputs
from edgevision.contract.spec import (
    FrameInput,
    ModelSpec,
    NmsSpec,
    Provenance,
    classify_outputs,
    detect_outputs,
    obb_outputs,
    segment_outputs,
)
from edgevision.errors import UsageError
from edgevision.explain.target import TargetChoice, choose_target, likeness

PATCH = (60, 20, 76, 36)
ELSEWHERE = (8.0, 30.0, 32.0, 60.0)
CLASSES = ("other", "patch")
FRAMES = FrameInput((96, 64))
PROVENANCE = Provenance("none", None, "test", "2026-01-01T00:00:00+00:00")
NMS = NmsSpec(candidates=2, max_detections=2)
DETECTOR = ModelSpec(
    "patch", "detect", FRAMES, detect_outputs(2), CLASSES, PROVENANCE, NmsSpec(candidates=2, max_detections=2)
)
CLASSIFIER = ModelSpec("patch", "classify", FRAMES, classify_outputs(2), CLASSES, PROVENANCE)
SEGMENTER = ModelSpec("patch", "segment", FRAMES, segment_outputs((96, 64)), CLASSES, PROVENANCE)


def detections(scores: tuple[float, float], labels: tuple[int, int]) -> Outputs:
    boxes = np.array([[PATCH, ELSEWHERE]], np.float32)
    return boxes, np.array([scores], np.float32), np.array([labels], np.int32)


def test_likeness_of_detections_is_overlap_times_score_within_the_class() -> None:
    target = choose_target(DETECTOR, detections((0.9, 0.5), (1, 1)), TargetChoice())
    assert (target.label, target.name) == (1, "patch")
    assert likeness(target, detections((0.8, 0.5), (1, 1))) == pytest.approx([0.8])
    assert likeness(target, detections((0.8, 0.5), (0, 1))) == pytest.approx([0])
    assert likeness(target, detections((0.0, 0.0), (1, 1))) == pytest.approx([0])
    half = detections((0.8, 0.0), (1, 1))
    half[0][0, 0] = (60, 20, 76, 28)
    assert likeness(target, half) == pytest.approx([0.4])


@pytest.mark.parametrize(
    ("choice", "name", "score"),
    [
        (TargetChoice(), "patch", 0.9),
        (TargetChoice(index=1), "other", 0.5),
        (TargetChoice(class_name="other"), "other", 0.5),
        (TargetChoice(class_name="patch", index=0), "patch", 0.9),
    ],
)
def test_the_choice_of_a_detection(choice: TargetChoice, name: str, score: float) -> None:
    target = choose_target(DETECTOR, detections((0.9, 0.5), (1, 0)), choice)
    assert target.name == name
    assert target.score == pytest.approx(score)


def test_classes_are_chosen_by_name_and_by_place() -> None:
    outputs = (np.array([[0.3, 0.7]], np.float32),)

    def pick(choice: TargetChoice) -> str:
        return choose_target(CLASSIFIER, outputs, choice).name

    assert pick(TargetChoice()) == "patch"
    assert pick(TargetChoice(index=1)) == "other"
    assert pick(TargetChoice(class_name="other")) == "other"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (TargetChoice(threshold=0.95), "0 detections of score 0.95 or more.*the best of all is patch 0.900"),
        (TargetChoice(index=2), "2 detections of score 0.25.*no index 2"),
        (TargetChoice(class_name="cat"), "has no class 'cat'; its classes: other, patch"),
        (TargetChoice(class_name="other", index=1), "1 detections of class other"),
    ],
)
def test_a_choice_without_a_match_is_reported(choice: TargetChoice, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_target(DETECTOR, detections((0.9, 0.5), (1, 0)), choice)


def test_a_class_of_a_segmentation_is_its_pixels() -> None:
    mask = np.zeros((1, 64, 96), np.uint8)
    mask[0, :16, :48] = 1
    target = choose_target(SEGMENTER, (mask,), TargetChoice(index=1))
    assert (target.name, target.score) == ("patch", 0.125)
    assert likeness(target, (mask,)) == pytest.approx([1])
    fewer = np.concatenate([mask, mask, np.zeros_like(mask)])
    fewer[1, :4] = 0
    assert likeness(target, (fewer,)) == pytest.approx([1, 0.75, 0])
    with pytest.raises(UsageError, match="answered 0 classes in the mask of class patch"):
        choose_target(SEGMENTER, (np.zeros_like(mask),), TargetChoice(class_name="patch"))


def test_likeness_of_oriented_boxes_depends_on_their_angle() -> None:
    spec = ModelSpec("patch", "obb", FRAMES, obb_outputs(2), CLASSES, PROVENANCE, NMS)
    boxes = np.array([[[40, 30, 30, 6, 0.5], [10, 10, 5, 5, 0]]], np.float32)
    scores, labels = np.array([[0.9, 0.5]], np.float32), np.array([[1, 0]], np.int32)
    target = choose_target(spec, (boxes, scores, labels), TargetChoice())
    assert target.oriented is not None
    assert target.oriented.tolist() == boxes[0, 0].tolist()
    assert target.box is not None
    assert target.box[0] < 27 < 53 < target.box[2]
    assert likeness(target, (boxes, scores, labels)) == pytest.approx([0.9], abs=1e-3)
    turned = boxes.copy()
    turned[..., 4] = -0.5
    assert likeness(target, (turned, scores, labels))[0] < 0.5
