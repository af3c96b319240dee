"""Does this engine answer as the source model did? The golden frames decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.boxes import iou_matrix
from edgevision.bundle import Check, Golden, Verification
from edgevision.results import Outputs
from edgevision.session import Session
from edgevision.spec import ModelSpec, Precision, utc_now


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an answer may be from the source model's."""

    min_score: float
    """Detections under this score are not compared."""
    box_iou: float
    box_px: float
    """Boxes that differ by no more than this in any coordinate are equal: under a pixel an IoU says nothing."""
    score: float


TOLERANCES: dict[Precision, Tolerance] = {
    # Two float32 implementations of one network differ by rounding alone: 1e-5 in scores, 1e-3 px in boxes.
    "float": Tolerance(min_score=0.05, box_iou=0.999, box_px=0.01, score=1e-3),
}


def verify_session(session: Session, golden: Golden, *, precision: Precision = "float") -> Verification:
    """Run the golden frames and compare: agreement, repeated calls, equal rows of a batch, NaN.

    Raises nothing for a wrong answer: the record says so (`Verification.passed`).
    """
    tolerance = TOLERANCES[precision]
    actual = _run_all(session, golden.frames)
    again = _run_all(session, golden.frames)
    checks = [
        Check("not-finite values", float(sum(_count_not_finite(array) for array in actual)), "<=", 0.0),
        Check("difference between two equal calls", max_difference(actual, again), "<=", 0.0),
    ]
    if session.spec.frames.batch.max > 1:
        rows = _row_difference(session, golden)
        checks.append(Check("score difference between equal rows of a batch", rows, "<=", tolerance.score))
    checks += compare_answers(session.spec, golden.answers, actual, precision)
    return Verification(
        "verify", session.info.engine, session.info.library, len(golden.frames), tuple(checks), utc_now()
    )


def compare_answers(spec: ModelSpec, expected: Outputs, actual: Outputs, precision: Precision) -> list[Check]:
    """Hold two models' answers to the same frames against each other."""
    compare = _compare_detections if spec.task == "detect" else _compare_scores
    return compare(expected, actual, TOLERANCES[precision])


def max_difference(left: Outputs, right: Outputs) -> float:
    """The largest absolute difference between two answers; NaN where just one side is not finite."""
    worst = 0.0
    for a, b in zip(left, right, strict=True):
        if not np.array_equal(a, b, equal_nan=True):
            worst = max(worst, float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()))
    return worst


def _run_all(session: Session, frames: npt.NDArray[np.uint8]) -> Outputs:
    """All frames in batches of the size that the graph was made for; a last batch is filled up and cut again."""
    size = session.spec.frames.batch.opt
    rows = []
    for start in range(0, len(frames), size):
        batch = frames[start : start + size]
        filled = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
        rows.append(tuple(array[: len(batch)] for array in session.infer(filled)))
    return tuple(np.concatenate(arrays) for arrays in zip(*rows, strict=True))


def _row_difference(session: Session, golden: Golden) -> float:
    """One frame in every row of the largest batch: every row's sorted scores must be the first row's."""
    batch = np.repeat(golden.frames[:1], session.spec.frames.batch.max, axis=0)
    names = [tensor.name for tensor in session.spec.outputs]
    scores = session.infer(batch)[names.index("scores")]
    return max_difference((scores,), (np.repeat(scores[:1], len(scores), axis=0),))


def _count_not_finite(array: npt.NDArray[np.generic]) -> int:
    return int(np.count_nonzero(~np.isfinite(array))) if array.dtype.kind == "f" else 0


def _compare_scores(expected: Outputs, actual: Outputs, tolerance: Tolerance) -> list[Check]:
    agree = float(np.mean(expected[0].argmax(axis=1) == actual[0].argmax(axis=1)))
    return [
        Check("score difference", max_difference(expected, actual), "<=", tolerance.score),
        Check("share of frames with the same best class", agree, ">=", 1.0),
    ]


def _compare_detections(expected: Outputs, actual: Outputs, tolerance: Tolerance) -> list[Check]:
    """Pair each detection with the other side's of the same class and the greatest overlap, in both directions.

    A detection without a partner counts, unless its score is so near the floor of comparison that the other side may
    have it just below.
    """
    compared, unmatched, worst_iou, worst_score = 0, 0, 1.0, 0.0
    for row in range(len(expected[0])):
        sides = [tuple(array[row] for array in side) for side in (expected, actual)]
        for (boxes, scores, labels), (other_boxes, other_scores, other_labels) in (sides, sides[::-1]):
            # A full list ends at its lowest score: what is no better may have been cut off on the other side.
            floor = max(tolerance.min_score, float(other_scores.min()))
            wanted = scores >= floor + tolerance.score
            overlap = iou_matrix(boxes[wanted], other_boxes)
            distance = np.abs(boxes[wanted][:, None] - other_boxes).max(axis=2)
            overlap[distance <= tolerance.box_px] = 1.0
            overlap *= (labels[wanted][:, None] == other_labels) & (other_scores > 0)
            best = overlap.argmax(axis=1)
            ious = overlap[np.arange(len(best)), best]
            matched = ious >= tolerance.box_iou
            differences = np.abs(scores[wanted] - other_scores[best])
            compared += len(best)
            unmatched += int(np.count_nonzero(~matched))
            if matched.any():
                worst_iou = min(worst_iou, float(ious[matched].min()))
                worst_score = max(worst_score, float(differences[matched].max()))
    return [
        Check("detections compared", float(compared), ">=", 1.0),
        Check("detections without a partner", float(unmatched), "<=", 0.0),
        Check("smallest IoU of partners", worst_iou, ">=", tolerance.box_iou),
        Check("score difference of partners", worst_score, "<=", tolerance.score),
    ]
