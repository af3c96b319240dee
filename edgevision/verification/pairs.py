"""Pairs boxes of two sides, and checks that a list of detections is what NMS makes of its candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.contract.rotated import corners_from_oriented, overlap_matrix

FULL_SCORE = 0.25
"""Below this score a difference in float32 counts in proportion to the score: a logit's rounding error scales it."""
_SCORE_NOISE = 5e-5
"""Differences of scores that mean nothing: logistic functions are exact to about 1e-7, which a power magnifies."""
_SMALLEST_SCORE = 1e-7
_NO_PARTNER = np.float64(np.inf)
_COPY = 1e-9
"""Differences of boxes that show no other box."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Box-class pairs of one frame: boxes ``[N,4]`` xyxy or ``[N,5]`` oriented, scores ``[N]``, labels ``[N]``."""

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Pairs:
        return Pairs(self.boxes[rows], self.scores[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class Slack:
    """Differences that count as none, each as `score_differences`, `box_differences` and IoU define it."""

    score: float
    box: float
    smallest_side: float
    """Pixels: a shorter side counts as if it had this length."""
    iou: float
    """Distance of an IoU from the threshold below which either decision is right."""
    full_score: float = FULL_SCORE
    """Below this score a difference counts in proportion to the score."""


@dataclass(frozen=True, slots=True, eq=False)
class Partners:
    """For each pair the nearest one of its label on the other side; -1 and infinite differences if there is none."""

    index: npt.NDArray[np.intp]
    score: npt.NDArray[np.float64]
    box: npt.NDArray[np.float64]

    def equal(self, slack: Slack) -> npt.NDArray[np.bool_]:
        """True for each pair whose partner differs by no more than the slack."""
        return (self.score <= slack.score) & (self.box <= slack.box)


def score_scale(scores: npt.NDArray[np.float64], full_score: float = FULL_SCORE) -> npt.NDArray[np.float64]:
    """The allowed difference of these scores, relative to that of `full_score` and above."""
    return np.asarray(np.clip(scores / full_score, _SMALLEST_SCORE, 1))


def allowance(scores: npt.NDArray[np.float64], slack: Slack) -> npt.NDArray[np.float64]:
    """The absolute difference that `slack` allows to each score."""
    return np.asarray(slack.score * score_scale(scores, slack.full_score) + _SCORE_NOISE)


def score_differences(
    left: npt.NDArray[np.float64], right: npt.NDArray[np.float64], full_score: float = FULL_SCORE
) -> npt.NDArray[np.float64]:
    """Differences of scores, below `full_score` scaled up in proportion to the larger one."""
    apart = np.maximum(np.abs(left - right) - _SCORE_NOISE, 0)
    return np.asarray(apart / score_scale(np.maximum(left, right), full_score))


def box_differences(
    left: npt.NDArray[np.float64], right: npt.NDArray[np.float64], smallest_side: float
) -> npt.NDArray[np.float64]:
    """Largest difference of an edge, relative to the side of the right box that it ends, for ``[...,4]``.

    For oriented boxes ``[...,5]`` the largest difference of a corner along each side of the right box, relative to it.
    """
    if right.shape[-1] == 5:
        return _oriented_differences(left, right, smallest_side)
    sides = np.maximum(np.abs(right[..., 2:] - right[..., :2]), smallest_side)
    apart = np.abs(left - right)
    return np.asarray(np.maximum(apart[..., :2] / sides, apart[..., 2:] / sides).max(axis=-1))


def _oriented_differences(
    left: npt.NDArray[np.float64], right: npt.NDArray[np.float64], smallest_side: float
) -> npt.NDArray[np.float64]:
    ours, theirs = (
        corners_from_oriented(boxes.reshape(-1, 5)).reshape(*boxes.shape[:-1], 4, 2)
        for boxes in (left, right)
    )
    along, across = (np.maximum(np.abs(right[..., side]), smallest_side) for side in (2, 3))
    cos, sin = np.cos(right[..., 4]), np.sin(right[..., 4])
    best = np.full(np.broadcast_shapes(left.shape[:-1], right.shape[:-1]), np.inf)
    # A box that is turned by a quarter and has its sides exchanged is the same box.
    for turn in range(4):
        worst = np.zeros(best.shape)
        for corner in range(4):
            x, y = np.moveaxis(ours[..., (corner + turn) % 4, :] - theirs[..., corner, :], -1, 0)
            worst = np.maximum(worst, np.abs(x * cos + y * sin) / along)
            worst = np.maximum(worst, np.abs(y * cos - x * sin) / across)
        best = np.minimum(best, worst)
    return best


def partners(one: Pairs, other: Pairs, slack: Slack, frame_wh: tuple[int, int] | None = None) -> Partners:
    """The nearest pair of `other` for each of `one`; with `frame_wh`, either side may be clipped to the frame."""
    index = np.full(len(one), -1, np.intp)
    score, box = np.full(len(one), _NO_PARTNER), np.full(len(one), _NO_PARTNER)
    for label in np.unique(one.labels):
        rows, columns = np.flatnonzero(one.labels == label), np.flatnonzero(other.labels == label)
        if not len(columns):
            continue
        left, right = one.boxes[rows][:, None], other.boxes[columns][None]
        boxes = box_differences(left, right, slack.smallest_side)
        if frame_wh is not None and left.shape[-1] == 4:
            left, right = (side.clip(0, np.array(frame_wh * 2, np.float64)) for side in (left, right))
            boxes = np.minimum(boxes, box_differences(left, right, slack.smallest_side))
        scores = score_differences(one.scores[rows][:, None], other.scores[columns][None], slack.full_score)
        nearest = np.maximum(scores / slack.score, boxes / slack.box).argmin(axis=1)
        here = np.arange(len(rows))
        index[rows], score[rows], box[rows] = columns[nearest], scores[here, nearest], boxes[here, nearest]
    return Partners(index, score, box)


@dataclass(frozen=True, slots=True, eq=False)
class NmsRule:
    """What NMS does with candidates, and how many detections it returns."""

    iou_threshold: float
    """1: it removes nothing."""
    score_floor: float
    rows: int


@dataclass(frozen=True, slots=True)
class NmsFaults:
    """Violations of the rule in one frame."""

    duplicates: int
    """Detections that a better one of their label overlaps by more than the threshold."""
    missing: int
    """Candidates that no better detection of their label overlaps, and that are no detections."""


def _certain_sources(source: Partners, slack: Slack, count: int) -> npt.NDArray[np.bool_]:
    """True for each detection with an equal candidate that is not closer to another detection.

    A box that was clipped to the frame may equal the candidate of another one. Copies of one detection are all certain.
    """
    known = source.equal(slack)
    nearest = np.full(count, np.inf)
    np.minimum.at(nearest, source.index[known], source.box[known])
    known[known] = source.box[known] <= nearest[source.index[known]] + _COPY
    return known


def nms_faults(
    found: Pairs,
    source: Partners,
    candidates: Pairs,
    certain: npt.NDArray[np.bool_],
    rule: NmsRule,
    slack: Slack,
    present: npt.NDArray[np.bool_],
) -> NmsFaults:
    """Check detections against the definition of greedy NMS, each by its own neighbours.

    Greedy NMS is the only list in which no detection overlaps a better one, and in which each other candidate overlaps
    a better detection. Both parts are local: a decision that rounding may turn is excused alone, and what it changes
    further down the list follows from the list itself. Excused are an IoU within `slack` of the threshold, a score
    within `slack` of the floor, and candidates at the end of a full list.

    `source` is where each detection comes from: its candidate. One without an equal candidate may be larger beyond the
    frame's edge than it shows, so what it overlaps is not decided. `present` marks the candidates that are detections,
    `certain` those that enter NMS whatever the rounding.
    """
    removing, known = rule.iou_threshold < 1, _certain_sources(source, slack, len(candidates))
    moved = found.boxes.copy()  # unlike a detection, its candidate is not clipped to the frame
    moved[known] = candidates.boxes[source.index[known]]
    duplicates = 0
    if removing and len(found) > 1:
        over = (found.labels[:, None] == found.labels) & known[:, None] & known
        for boxes in (found.boxes, moved):
            over &= overlap_matrix(boxes, boxes) > rule.iou_threshold + slack.iou
        duplicates = int(np.count_nonzero(np.triu(over, 1).any(axis=0)))
    least = candidates.scores - allowance(candidates.scores, slack)
    wanted = certain & (least >= rule.score_floor) & ~present
    if len(found) >= rule.rows:
        wanted &= least > found.scores.min()
    waiting = np.flatnonzero(wanted)
    if removing and len(found) and len(waiting):
        over = np.zeros((len(waiting), len(found)), np.bool_)
        least_iou = np.where(known, rule.iou_threshold - slack.iou, np.finfo(np.float64).tiny)
        for boxes in (found.boxes, moved):
            over |= overlap_matrix(candidates.boxes[waiting], boxes) >= least_iou
        over &= candidates.labels[waiting][:, None] == found.labels
        over &= found.scores >= least[waiting][:, None]
        waiting = waiting[~over.any(axis=1)]
    return NmsFaults(duplicates, len(waiting))
