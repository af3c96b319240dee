"""Candidates of the source model: its raw outputs, decoded in numpy before any decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from edgevision.bundle.candidates import SourceCandidates, boxes_in_frame
from edgevision.contract.spec import NmsSpec
from edgevision.contract.transform import FrameTransform
from edgevision.graph.heads.head import Array, DetectionHead

BEST = 100
"""Pairs that are stored for every frame, whatever their scores."""
_NEAR_FLOOR = 0.8
"""Pairs down to this share of the score floor are stored: others round to a score above it."""
_MOST = 1.5
"""Stored pairs at most, relative to those that enter NMS."""
_NEAR_RANK = 0.9
"""Boxes down to this share of the last rank are stored: rounding may exchange them."""


@runtime_checkable
class RankingHead(Protocol):
    """A head whose graph takes only the best boxes by another value than their scores, such as objectness."""

    def ranks(self, arrays: Sequence[Array]) -> Array:
        """That value ``[N]`` of each box of `DetectionHead.plain`, from one frame's raw outputs; not negative."""


def source_candidates(
    raw: Sequence[Sequence[Array]], head: DetectionHead, nms: NmsSpec, placement: FrameTransform
) -> SourceCandidates:
    """The candidates of each frame from its raw outputs, without the batch, boxes in the frame's pixels."""
    rows = [_of_frame(arrays, head, nms, placement) for arrays in raw]
    longest = max(len(row.scores) for row in rows)
    return SourceCandidates(
        np.stack([_padded(row.boxes, longest, 0, np.float32) for row in rows]),
        np.stack([_padded(row.scores, longest, 0, np.float32) for row in rows]),
        np.stack([_padded(row.labels, longest, -1, np.int32) for row in rows]),
        np.stack([_padded(row.rank, longest, 0, np.float32) for row in rows]),
        np.array([row.cut for row in rows], np.float32),
        np.array([row.lowest for row in rows], np.float32),
        1.0 if head.suppressed else nms.iou_threshold,
        np.array([placement.scale_xy, placement.offset_xy], np.float64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One frame's part of `SourceCandidates`."""

    boxes: Array
    scores: Array
    labels: Array
    rank: Array
    cut: float
    lowest: float


def _of_frame(arrays: Sequence[Array], head: DetectionHead, nms: NmsSpec, placement: FrameTransform) -> _Row:
    boxes, matrix = head.plain(arrays)
    rank = relative_ranks(arrays, head, len(boxes), nms)
    near = np.flatnonzero(rank >= _NEAR_RANK)
    flat = matrix[near].ravel()
    order = np.argsort(-flat, kind="stable")
    row, label = near[order // matrix.shape[1]], order % matrix.shape[1]
    score = flat[order]
    entering = score[rank[row] >= 1]
    cut = float(entering[nms.candidates - 1]) if len(entering) > nms.candidates else 0.0
    count = max(int(np.count_nonzero(score >= _NEAR_FLOOR * nms.score_floor)), BEST)
    count = min(count, int(_MOST * nms.candidates), len(score))
    lowest = float(score[count]) if count < len(score) else -1.0
    row, label, score = row[:count], label[:count], score[:count]
    placed = boxes_in_frame(boxes[row], np.array([placement.scale_xy, placement.offset_xy], np.float64))
    return _Row(placed, score, label, rank[row], cut, lowest)


def relative_ranks(arrays: Sequence[Array], head: DetectionHead, count: int, nms: NmsSpec) -> Array:
    """Rank of each box relative to the last one that the graph takes; infinite if it takes all or ranks by score."""
    if head.suppressed or not isinstance(head, RankingHead) or count <= nms.candidates:
        return np.full(count, np.inf)
    ranks = np.asarray(head.ranks(arrays), np.float64)
    last = np.partition(ranks, -nms.candidates)[-nms.candidates]
    return np.asarray(ranks / max(float(last), 1e-30))


def _padded(values: Array, length: int, fill: float, dtype: type[np.generic]) -> Array:
    missing = np.full((length - len(values), *values.shape[1:]), fill)
    return np.concatenate([values, missing]).astype(dtype)
