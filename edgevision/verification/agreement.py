"""Compares an engine's answers to the golden frames with what the source model chose its own from.

Sets of detections are not continuous: where two boxes overlap by just the threshold, one bit decides which of them
stays, and with it the rest of the list. Candidates before NMS are continuous, and NMS of given candidates is exact. So
candidates are compared with the source's, where an engine shows them; its NMS is checked on its own candidates; and its
answers are checked against the source's candidates, where only decisions within the tolerance may fall either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgevision.bundle.candidates import SourceCandidates, boxes_in_frame
from edgevision.bundle.folder import CheckRecord, Golden
from edgevision.contract.results import MASK_HALF, Outputs
from edgevision.contract.spec import ModelSpec, NmsSpec, Precision, Task
from edgevision.verification.comparison import (
    COMPARED,
    SMALL_MASK_CELLS,
    TOLERANCES,
    Tolerance,
    compare_answers,
    compare_scores,
)
from edgevision.verification.pairs import (
    NmsRule,
    Pairs,
    Slack,
    allowance,
    nms_faults,
    partners,
    score_differences,
)

_FAR = 1e9
_IOU_ROUNDING = 1e-5
"""The graph compares areas in float32."""


def compare_golden(
    spec: ModelSpec, golden: Golden, actual: Outputs, precision: Precision
) -> list[CheckRecord]:
    """Compare an engine's outputs for the golden frames with the source model's answers."""
    tolerance = TOLERANCES[precision].widened(golden.sensitivity)
    if tolerance.missing and spec.nms is not None:
        return _eight_bits(spec, golden, actual, precision)
    return _AGREEMENTS[spec.task](spec, golden, actual, tolerance, precision)


def candidate_checks(
    spec: ModelSpec, golden: Golden, shown: Sequence[tuple[Outputs, Outputs]], precision: Precision
) -> list[CheckRecord]:
    """Compare candidates before NMS with the source's, and the graph's NMS with greedy NMS of its own candidates.

    `shown` holds for each golden frame what `Session.infer_candidates` returned, without the batch.
    """
    if golden.candidates is None or spec.nms is None or not shown:
        return []
    tolerance = TOLERANCES[precision].widened(golden.sensitivity)
    frames = [_to_frame(found, golden.candidates) for found, _ in shown]
    checks = [] if tolerance.missing else _same_candidates(golden.candidates, frames, tolerance)
    outputs = [_pairs(*answers[:3]) for _, answers in shown]
    return [*checks, *_exact_nms(spec, spec.nms, golden.candidates, frames, outputs)]


def decoding_checks(decoded: SourceCandidates, found: Sequence[Outputs]) -> list[CheckRecord]:
    """Compare a graph's candidates of each frame with those that a plain decoding makes of its own raw outputs.

    Both come from the same values, so that no noise of the network is between them.
    """
    frames = [_to_frame(arrays, decoded) for arrays in found]
    checks = _same_candidates(decoded, frames, TOLERANCES["float"])
    return [replace(check, name=f"{check.name}, decoded from the graph's raw outputs") for check in checks]


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """The source's candidates of one frame."""

    pairs: Pairs
    certain: npt.NDArray[np.bool_]
    """True for those that enter NMS whatever the rounding."""
    lowest: float
    """Below this score there may be others that are not stored; -1 if all are."""


def _source(candidates: SourceCandidates, row: int, slack: Slack) -> _Source:
    used = candidates.labels[row] >= 0
    pairs = _pairs(*(array[row][used] for array in (candidates.boxes, candidates.scores, candidates.labels)))
    least = pairs.scores - allowance(pairs.scores, slack)
    taken = candidates.rank[row][used] >= 1 + 4 * slack.score
    return _Source(pairs, taken & (least > candidates.cut[row]), float(candidates.lowest[row]))


def _pairs(
    boxes: npt.NDArray[np.generic], scores: npt.NDArray[np.generic], labels: npt.NDArray[np.generic]
) -> Pairs:
    # Values that are not finite have a check of their own; here they only must differ from every other.
    finite = np.nan_to_num(boxes.astype(np.float64), nan=_FAR, posinf=_FAR, neginf=-_FAR)
    return Pairs(finite, np.nan_to_num(scores.astype(np.float64)), labels.astype(np.int64))


def _found(actual: Outputs, row: int) -> Pairs:
    boxes, scores, labels = (array[row] for array in actual[:3])
    rows = np.flatnonzero(scores > 0)
    return _pairs(boxes[rows], scores[rows], labels[rows])


def _to_frame(found: Outputs, candidates: SourceCandidates) -> Pairs:
    """Candidates of the network's pixels in those of the frame, not clipped."""
    pairs = _pairs(*found)
    return replace(pairs, boxes=boxes_in_frame(pairs.boxes, candidates.placement))


def _floor(source: _Source, tolerance: Tolerance) -> float:
    """Score from which candidates and detections of a frame are compared; always some, if there are any."""
    best = float(source.pairs.scores.max(initial=0))
    return 0.0 if tolerance.all_scores else min(tolerance.min_score, best / 2)


def _same_candidates(
    candidates: SourceCandidates, frames: Sequence[Pairs], tolerance: Tolerance
) -> list[CheckRecord]:
    """Each candidate of the graph is one of the source's, and the other way round."""
    slack, compared, alone, expected = tolerance.slack, 0, 0, 0
    scores, boxes = 0.0, 0.0
    for row, ours in enumerate(frames):
        source = _source(candidates, row, slack)
        floor = _floor(source, tolerance)
        wanted = source.pairs[source.certain & (source.pairs.scores >= floor)]
        judged = ours.scores - allowance(ours.scores, slack) > source.lowest
        expected += len(wanted)
        sides = ((ours[judged & (ours.scores >= floor)], source.pairs), (wanted, ours))
        for one, other in sides:
            found = partners(one, other, slack)
            known = found.index >= 0
            compared += len(one)
            alone += int(np.count_nonzero(~known))
            scores = max(scores, float(found.score[known].max(initial=0)))
            boxes = max(boxes, float(found.box[known].max(initial=0)))
    score_limit, box_limit = (
        tolerance.score * tolerance.suppressed,
        tolerance.box_share * tolerance.suppressed,
    )
    return [
        CheckRecord("candidates compared", float(compared), ">=", float(min(expected, 1)), "nms.scores"),
        CheckRecord("candidates without a partner", float(alone), "<=", 0.0, "nms.labels"),
        CheckRecord("score difference of candidates", scores, "<=", score_limit, "nms.scores"),
        CheckRecord("box difference of candidates", boxes, "<=", box_limit, "nms.boxes"),
    ]


def _exact_nms(
    spec: ModelSpec,
    nms: NmsSpec,
    candidates: SourceCandidates,
    frames: Sequence[Pairs],
    outputs: Sequence[Pairs],
) -> list[CheckRecord]:
    """The graph's detections are what greedy NMS makes of its candidates."""
    same = np.array_equal(candidates.placement, [[1, 1], [0, 0]])
    # Boxes that the graph moves are rounded once more; others are copies.
    slack = Slack(1e-9, 1e-9, 1.0, _IOU_ROUNDING) if same else Slack(1e-9, 1e-5, 100.0, _IOU_ROUNDING)
    rule = NmsRule(candidates.iou_threshold, nms.score_floor, nms.max_detections)
    wrong = 0
    for ours, answers in zip(frames, outputs, strict=True):
        found = answers[answers.scores > 0]
        frame_wh = None if same else spec.frames.size_wh
        theirs = partners(found, ours, slack, frame_wh)
        present = partners(ours, found, slack, frame_wh).equal(slack)
        faults = nms_faults(found, theirs, ours, np.ones(len(ours), np.bool_), rule, slack, present)
        wrong += int(np.count_nonzero(~theirs.equal(slack))) + faults.duplicates + faults.missing
    return [
        CheckRecord(
            "detections that differ from NMS of the graph's candidates", float(wrong), "<=", 0.0, "scores"
        )
    ]


def _detections(
    spec: ModelSpec, golden: Golden, actual: Outputs, tolerance: Tolerance, precision: Precision
) -> list[CheckRecord]:
    if golden.candidates is None or spec.nms is None:
        return compare_answers(spec, golden.answers, actual, precision)
    candidates, slack, nms = golden.candidates, tolerance.slack, spec.nms
    compared = expected = alone = duplicates = missing = 0
    scores, boxes = 0.0, 0.0
    for row in range(len(golden.frames)):
        source, found = _source(candidates, row, slack), _found(actual, row)
        floor = max(nms.score_floor, _floor(source, tolerance))
        theirs = partners(found, source.pairs, slack, spec.frames.size_wh)
        least = found.scores - allowance(found.scores, slack)
        judged = (least > source.lowest) & (found.scores >= floor)
        known = judged & (theirs.index >= 0)
        back = partners(source.pairs, found, slack, spec.frames.size_wh)
        wanted = source.certain & (source.pairs.scores >= floor)
        rule = NmsRule(candidates.iou_threshold, floor, nms.max_detections)
        faults = nms_faults(found, theirs, source.pairs, wanted, rule, slack, back.equal(slack))
        compared += int(np.count_nonzero(judged)) + int(np.count_nonzero(wanted))
        expected += int(np.count_nonzero(wanted))
        alone += int(np.count_nonzero(judged & (theirs.index < 0)))
        scores = max(scores, float(theirs.score[known].max(initial=0)))
        boxes = max(boxes, float(theirs.box[known].max(initial=0)))
        duplicates, missing = duplicates + faults.duplicates, missing + faults.missing
    return [
        CheckRecord(COMPARED, float(compared), ">=", float(min(expected, 1)), "scores"),
        CheckRecord("detections without a partner", float(alone), "<=", 0.0, "labels"),
        CheckRecord("score difference of partners", scores, "<=", tolerance.score, "scores"),
        CheckRecord("box difference of partners", boxes, "<=", tolerance.box_share, "boxes"),
        CheckRecord("detections that NMS should remove", float(duplicates), "<=", 0.0, "scores"),
        CheckRecord("detections that are missing", float(missing), "<=", 0.0, "scores"),
    ]


def _instances(
    spec: ModelSpec, golden: Golden, actual: Outputs, tolerance: Tolerance, precision: Precision
) -> list[CheckRecord]:
    """Detections, and the masks of those that the source model answers too."""
    if golden.candidates is None:
        return compare_answers(spec, golden.answers, actual, precision)
    checks = _detections(spec, golden, actual, tolerance, precision)
    shares = [0.0]
    for row in range(len(golden.frames)):
        ours, theirs = _found(golden.answers, row), _found(actual, row)
        found = partners(theirs, ours, tolerance.slack, spec.frames.size_wh)
        floor = 0.0 if tolerance.all_scores else tolerance.min_score
        rows = np.flatnonzero(found.equal(tolerance.slack) & (theirs.scores >= floor))
        expected, answered = golden.answers[3][row][found.index[rows]], actual[3][row][rows]
        shares += _mask_shares(expected, answered, ours.boxes[found.index[rows]], spec, tolerance)
    worst = max(shares)
    return [
        *checks,
        CheckRecord("share of partners' mask cells in just one", worst, "<=", tolerance.mask, "masks"),
    ]


def _mask_shares(
    ours: npt.NDArray[np.uint8],
    theirs: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.float64],
    spec: ModelSpec,
    tolerance: Tolerance,
) -> list[float]:
    """For each pair of masks the share of cells that lie in just one of them; cells at the box's edge do not count."""
    inside = [mask >= MASK_HALF for mask in (ours, theirs)]
    apart = np.abs(ours.astype(np.int16) - theirs) > tolerance.mask_step
    slack = tolerance.slack
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], slack.smallest_side) * slack.box
    grown, shrunk = (
        _touched(boxes + sign * np.concatenate([-sides, sides], 1), ours.shape[1:], spec.frames.size_wh)
        for sign in (1, -1)
    )
    wrong = (inside[0] ^ inside[1]) & apart & ~(grown & ~shrunk)
    joint = np.count_nonzero(inside[0] | inside[1], axis=(1, 2)).clip(min=SMALL_MASK_CELLS)
    return list(map(float, np.count_nonzero(wrong, axis=(1, 2)) / joint))


def _touched(
    boxes: npt.NDArray[np.float64], mask_hw: tuple[int, ...], frame_wh: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """True for the cells ``[N,h,w]`` that each box overlaps."""
    axes = []
    for axis, count in ((1, mask_hw[0]), (0, mask_hw[1])):
        cells, scale = np.arange(count), count / frame_wh[axis]
        low, high = boxes[:, axis, None] * scale, boxes[:, axis + 2, None] * scale
        axes.append((low < cells + 1) & (high > cells))
    return np.asarray(axes[0][:, :, None] & axes[1][:, None, :])


def _poses(
    spec: ModelSpec, golden: Golden, actual: Outputs, tolerance: Tolerance, precision: Precision
) -> list[CheckRecord]:
    """Detections, and the keypoints of those that the source model answers too."""
    checks = compare_answers(spec, golden.answers, actual, precision)
    if golden.candidates is None:
        return checks
    points = [check for check in checks if "keypoints" in check.name]
    return [*_detections(spec, golden, actual, tolerance, precision), *points]


def _classes(
    spec: ModelSpec, golden: Golden, actual: Outputs, tolerance: Tolerance, precision: Precision
) -> list[CheckRecord]:
    """Scores of classes; of float graphs weak ones in proportion, so that many classes hide nothing."""
    del spec, precision
    checks = compare_scores(golden.answers, actual, tolerance)
    if not tolerance.all_scores:
        return checks
    expected, answered = (array.astype(np.float64) for array in (golden.answers[0], actual[0]))
    worst = float(score_differences(expected, answered).max(initial=0))
    return [CheckRecord("score difference", worst, "<=", tolerance.class_score, "scores"), *checks[1:]]


def _pixels(
    spec: ModelSpec, golden: Golden, actual: Outputs, tolerance: Tolerance, precision: Precision
) -> list[CheckRecord]:
    """Classes of pixels, except those whose two best classes are nearly equal in the source model."""
    del spec, precision
    wrong = golden.answers[0] != actual[0]
    if golden.undecided is not None:
        wrong &= ~golden.undecided
    share = float(wrong.mean(axis=(1, 2)).max())
    return [CheckRecord("share of pixels of another class", share, "<=", tolerance.pixels, "mask")]


def _images(
    spec: ModelSpec, golden: Golden, actual: Outputs, tolerance: Tolerance, precision: Precision
) -> list[CheckRecord]:
    """Values of images, in levels of 255, and of the outputs of a program's graphs."""
    del tolerance
    return compare_answers(spec, golden.answers, actual, precision)


def _eight_bits(spec: ModelSpec, golden: Golden, actual: Outputs, precision: Precision) -> list[CheckRecord]:
    """Means over detections; a model that finds nothing in the frames has none."""
    checks = compare_answers(spec, golden.answers, actual, precision)
    if spec.nms is None or golden.candidates is None:
        return checks
    if golden.candidates.scores.max(initial=0) < spec.nms.score_floor:
        checks = [replace(c, limit=0.0) if c.name == COMPARED else c for c in checks]
    return checks


Agreement = Callable[[ModelSpec, Golden, Outputs, Tolerance, Precision], list[CheckRecord]]

_AGREEMENTS: Mapping[Task, Agreement] = {
    "classify": _classes,
    "detect": _detections,
    "segment": _pixels,
    "instances": _instances,
    "pose": _poses,
    "obb": _detections,
    "translate": _images,
    "generate": _images,
    "part": _images,
}
