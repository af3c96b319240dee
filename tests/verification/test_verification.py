"""Verification detects a wrong engine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgevision.bundle.folder import Golden, Verification
from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, ReplaySession, Session
from edgevision.contract.spec import (
    BatchRange,
    FrameInput,
    ModelSpec,
    NmsSpec,
    Provenance,
    classify_outputs,
    detect_outputs,
)
from edgevision.verification.golden import verify_session

PROVENANCE = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")


def detector(batch: str = "1") -> ModelSpec:
    frames = FrameInput((16, 16), batch=BatchRange.parse(batch))
    nms = NmsSpec(candidates=4, max_detections=4)
    return ModelSpec("m", "detect", frames, detect_outputs(4), ("a", "b"), PROVENANCE, nms)


BOXES = np.array([[[1, 1, 9, 9], [4, 4, 15, 15], [0, 0, 3, 3], [0, 0, 0, 0]]], np.float32)
SCORES = np.array([[0.9, 0.6, 0.2, 0.0]], np.float32)
LABELS = np.array([[0, 1, 1, 0]], np.int32)
FRAMES = np.zeros((1, 16, 16, 3), np.uint8)


def verify(actual: Outputs) -> Verification:
    return verify_session(ReplaySession(detector(), [actual]), Golden(FRAMES, (BOXES, SCORES, LABELS)))


def failed(record: Verification) -> set[str]:
    return {check.name for check in record.checks if not check.passed}


def test_equal_outputs_pass() -> None:
    assert verify((BOXES, SCORES, LABELS)).passed


def test_order_among_near_equal_scores_does_not_matter() -> None:
    swap = [1, 0, 2, 3]
    near = np.array([[0.6, 0.6, 0.2, 0.0]], np.float32)
    record = verify_session(
        ReplaySession(detector(), [(BOXES[:, swap], near[:, swap], LABELS[:, swap])]),
        Golden(FRAMES, (BOXES, near, LABELS)),
    )
    assert record.passed


@pytest.mark.parametrize("planted", ["shift", "label", "missing", "extra", "score", "nan"])
def test_a_planted_fault_is_caught(planted: str) -> None:
    boxes, scores, labels = BOXES.copy(), SCORES.copy(), LABELS.copy()
    if planted == "shift":
        boxes[0, 1] += 0.05
    elif planted == "label":
        labels[0, 0] = 1
    elif planted == "missing":
        scores[0, 2] = 0
    elif planted == "extra":
        scores[0, 3], boxes[0, 3] = 0.1, (2, 9, 8, 14)
    elif planted == "score":
        scores[0, 1] += 0.002
    else:
        boxes[0, 3, 0] = np.nan
    record = verify((boxes, scores, labels))
    assert not record.passed
    assert record.failures


def test_a_detection_at_the_edge_of_comparison_may_miss_its_partner() -> None:
    scores = SCORES.copy()
    scores[0, 2] = 0.0505
    record = verify_session(
        ReplaySession(detector(), [(BOXES, np.where(scores == scores[0, 2], 0, scores), LABELS)]),
        Golden(FRAMES, (BOXES, scores, LABELS)),
    )
    assert record.passed


def test_nothing_to_compare_is_no_pass() -> None:
    nothing = (np.zeros_like(BOXES), np.zeros_like(SCORES), np.zeros_like(LABELS))
    record = verify_session(ReplaySession(detector(), [nothing]), Golden(FRAMES, nothing))
    assert failed(record) == {"detections compared"}


def test_outputs_that_differ_between_calls_fail() -> None:
    other = SCORES.copy()
    other[0, 0] = np.nextafter(other[0, 0], 1, dtype=np.float32)
    session = ReplaySession(detector(), [(BOXES, SCORES, LABELS), (BOXES, other, LABELS)])
    record = verify_session(session, Golden(FRAMES, (BOXES, SCORES, LABELS)))
    assert failed(record) == {"difference between two equal calls"}


class Unequal(Session):
    """Answers the second row of a batch otherwise than the first."""

    def _infer(self, frames: Frames) -> Outputs:
        scores: npt.NDArray[np.float32] = np.repeat(SCORES, len(frames), axis=0)
        scores[1:, 0] -= 0.1
        return np.repeat(BOXES, len(frames), axis=0), scores, np.repeat(LABELS, len(frames), axis=0)


def test_unequal_rows_of_a_batch() -> None:
    session = Unequal(detector("1:1:2"), EngineInfo("fake", "fake", "cpu"))
    record = verify_session(session, Golden(FRAMES, (BOXES, SCORES, LABELS)))
    assert failed(record) == {"score difference between equal rows of a batch"}


@pytest.mark.parametrize(("change", "passes"), [(0.0005, True), (0.002, False)])
def test_scores(change: float, passes: bool) -> None:
    spec = ModelSpec("m", "classify", FrameInput((16, 16)), classify_outputs(2), ("a", "b"), PROVENANCE)
    scores = np.array([[0.7, 0.3]], np.float32)
    session = ReplaySession(spec, [(scores + np.float32(change),)])
    assert verify_session(session, Golden(FRAMES, (scores,))).passed == passes
