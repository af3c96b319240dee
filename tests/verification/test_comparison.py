"""Limits on the difference between a graph of lower precision and the source model."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.bundle.folder import CheckRecord
from edgevision.contract.results import Outputs
from edgevision.contract.spec import (
    FrameInput,
    KeypointSpec,
    ModelSpec,
    NmsSpec,
    Precision,
    Provenance,
    classify_outputs,
    detect_outputs,
    obb_outputs,
    pose_outputs,
)
from edgevision.verification.comparison import TOLERANCES, compare_answers

COUNT = 20
PROVENANCE = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")
DETECTOR = ModelSpec(
    "m",
    "detect",
    FrameInput((640, 640)),
    detect_outputs(COUNT),
    ("a", "b"),
    PROVENANCE,
    NmsSpec(candidates=COUNT, max_detections=COUNT),
)
CLASSIFIER = ModelSpec("m", "classify", FrameInput((8, 8)), classify_outputs(3), ("a", "b", "c"), PROVENANCE)


def detections(count: int = 10, score: float = 0.8) -> Outputs:
    """Boxes of 50x50 pixels side by side; the rest of the list is empty."""
    boxes = np.zeros((1, COUNT, 4), np.float32)
    scores, labels = np.zeros((1, COUNT), np.float32), np.zeros((1, COUNT), np.int32)
    for index in range(count):
        boxes[0, index] = (60 * index, 0, 60 * index + 50, 50)
    scores[0, :count] = score
    return boxes, scores, labels


def failed(actual: Outputs, precision: Precision, expected: Outputs | None = None) -> set[str]:
    checks: list[CheckRecord] = compare_answers(DETECTOR, expected or detections(), actual, precision)
    return {check.name for check in checks if not check.passed}


def moved(pixels: float) -> Outputs:
    boxes, scores, labels = detections()
    return boxes + np.float32(pixels), scores, labels


@pytest.mark.parametrize("precision", TOLERANCES)
def test_equal_outputs_pass(precision: Precision) -> None:
    assert failed(detections(), precision) == set()


@pytest.mark.parametrize(
    ("precision", "missing", "passes"),
    [("float", 1, False), ("fp16", 1, False), ("int8", 1, True), ("int8", 4, False), ("fp8", 4, False)],
)
def test_missing_detections(precision: Precision, missing: int, passes: bool) -> None:
    assert (not failed(detections(10 - missing), precision)) == passes


def test_detections_too_many_count_as_well() -> None:
    found = failed(detections(10), "int8", expected=detections(6))
    assert found == {"share of detections without a partner"}


@pytest.mark.parametrize(
    ("precision", "pixels", "passes"),
    [
        ("float", 0.5, False),
        ("fp16", 0.5, True),
        ("fp16", 4.0, False),
        ("int8", 4.0, True),
        ("int8", 30.0, False),
    ],
)
def test_boxes_that_moved(precision: Precision, pixels: float, passes: bool) -> None:
    assert (not failed(moved(pixels), precision)) == passes


@pytest.mark.parametrize(
    ("precision", "score", "passes"),
    [
        ("float", 0.79, False),
        ("fp16", 0.79, True),
        ("fp16", 0.7, False),
        ("int8", 0.7, True),
        ("int8", 0.6, False),
    ],
)
def test_scores_that_changed(precision: Precision, score: float, passes: bool) -> None:
    assert (not failed(detections(score=score), precision)) == passes


def test_one_score_far_off_is_no_fault_of_int8_while_the_mean_holds() -> None:
    boxes, scores, labels = detections()
    scores[0, 9] = 0.3
    assert failed((boxes, scores, labels), "int8") == set()
    assert "score difference of partners" in failed((boxes, scores, labels), "fp16")


def test_frames_of_weak_detections_alone_are_compared_too() -> None:
    weak = detections(score=0.1)
    assert failed(weak, "int8", expected=weak) == set()
    assert failed(detections(count=2, score=0.1), "int8", expected=weak)


def test_nothing_found_at_all_is_no_pass() -> None:
    nothing = detections(count=0)
    assert "detections compared" in failed(nothing, "int8", expected=nothing)


@pytest.mark.parametrize(
    ("precision", "actual", "passes"),
    [
        ("float", (0.5, 0.3, 0.2), True),
        ("float", (0.49, 0.31, 0.2), False),
        ("fp16", (0.49, 0.31, 0.2), True),
        ("int8", (0.35, 0.45, 0.2), True),
        ("int8", (0.1, 0.7, 0.2), False),
    ],
)
def test_class_scores(precision: Precision, actual: tuple[float, ...], passes: bool) -> None:
    expected = np.array([[0.5, 0.3, 0.2]], np.float32)
    checks = compare_answers(CLASSIFIER, (expected,), (np.array([actual], np.float32),), precision)
    assert all(check.passed for check in checks) == passes


def test_a_clear_class_must_stay_the_best() -> None:
    expected, actual = np.array([[0.9, 0.1, 0.0]], np.float32), np.array([[0.4, 0.6, 0.0]], np.float32)
    checks = compare_answers(CLASSIFIER, (expected,), (actual,), "int8")
    assert {check.name for check in checks if not check.passed} == {
        "score difference",
        "share of frames with the same best class",
    }


POSE = ModelSpec(
    "m",
    "pose",
    FrameInput((640, 640)),
    pose_outputs(COUNT, 2),
    ("a", "b"),
    PROVENANCE,
    NmsSpec(candidates=COUNT, max_detections=COUNT),
    KeypointSpec.of(2),
)
OBB = ModelSpec(
    "m",
    "obb",
    FrameInput((640, 640)),
    obb_outputs(COUNT),
    ("a", "b"),
    PROVENANCE,
    NmsSpec(candidates=COUNT, max_detections=COUNT),
)


def poses(pixels: float = 0.0, confidence: float = 0.9) -> Outputs:
    boxes, scores, labels = detections()
    points = np.zeros((1, COUNT, 2, 3), np.float32)
    points[0, :, :, :2] = boxes[0, :, None, :2] + 10
    points[0, :, :, 2] = 0.9
    points[0, 3, 1] += (pixels, 0, confidence - 0.9)
    return boxes, scores, labels, points


@pytest.mark.parametrize("precision", TOLERANCES)
def test_equal_poses_pass(precision: Precision) -> None:
    checks = compare_answers(POSE, poses(), poses(), precision)
    assert all(check.passed for check in checks)
    assert sum("keypoints" in check.name for check in checks) == 2


@pytest.mark.parametrize(
    ("precision", "pixels", "passes"),
    [
        ("float", 0.009, True),
        ("float", 0.5, False),
        ("fp16", 0.9, True),
        ("fp16", 3.0, False),
        ("int8", 3.0, True),
    ],
)
def test_one_misplaced_keypoint(precision: Precision, pixels: float, passes: bool) -> None:
    wrong = {c.name for c in compare_answers(POSE, poses(), poses(pixels), precision) if not c.passed}
    assert (not wrong) == passes
    assert all("distance of partners' keypoints" in name for name in wrong)


@pytest.mark.parametrize(
    ("precision", "confidence", "passes"), [("float", 0.89, False), ("fp16", 0.89, True)]
)
def test_one_wrong_confidence_of_a_keypoint(precision: Precision, confidence: float, passes: bool) -> None:
    checks = compare_answers(POSE, poses(), poses(confidence=confidence), precision)
    assert all(check.passed for check in checks) == passes


def test_int8_measures_the_mean_of_keypoints() -> None:
    expected, actual = poses(), poses()
    actual[3][..., 0] += 15
    wrong = [c.name for c in compare_answers(POSE, expected, actual, "int8") if not c.passed]
    assert wrong == ["mean distance of partners' keypoints, share of the diagonal"]


def oriented(turn: float = 0.0) -> Outputs:
    boxes, scores, labels = detections()
    found = np.zeros((1, COUNT, 5), np.float32)
    found[0, :10] = np.stack(
        [boxes[0, :10, 0] + 25, np.full(10, 25)] + [np.full(10, v) for v in (50, 12, 0.5)], 1
    )
    found[0, :10, 4] += turn
    return found, scores, labels


@pytest.mark.parametrize("precision", TOLERANCES)
def test_a_box_turned_by_half_or_with_its_sides_exchanged_is_the_same(precision: Precision) -> None:
    exchanged = oriented(np.pi / 2)
    exchanged[0][..., 2:4] = exchanged[0][..., [3, 2]]
    for actual in (oriented(), oriented(np.pi), exchanged):
        assert all(check.passed for check in compare_answers(OBB, oriented(), actual, precision))


@pytest.mark.parametrize(
    ("precision", "turn", "passes"),
    [
        ("float", 1e-4, True),
        ("float", 0.01, False),
        ("fp16", 0.01, True),
        ("fp16", 0.2, False),
        ("int8", 1.2, False),
    ],
)
def test_turned_boxes_lose_their_partners(precision: Precision, turn: float, passes: bool) -> None:
    checks = compare_answers(OBB, oriented(), oriented(turn), precision)
    assert all(check.passed for check in checks) == passes
