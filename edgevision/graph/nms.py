"""Class-aware NMS of static shape: MatMuls and comparisons, no plugin, no loop.

Greedy NMS is the only solution of ``keep[j] = not any(keep[i] and over[i, j] for i < j)`` with candidates in descending
order of score. Cluster-NMS (Zheng et al., arXiv 2005.03572) iterates that equation from "all kept": as a product of the
keep row with the 0/1 matrix ``over``, one step is ``keep = relu(available - keep @ over)``. Step k is correct for every
box at the end of a chain of up to k suppressions, so `NmsSpec.depth` unrolled steps are exact up to that length.

For longer chains the iteration is bounded from both sides, because a step turns a superset of the correct result into a
subset and vice versa. From "all kept", even steps hold supersets (`upper`) and odd ones subsets (`lower`). Candidates
are processed in blocks in the order of their scores: kept boxes of earlier blocks first suppress candidates of later
ones. That leaves half the pairs and much shorter rows to iterate on. Each bound is carried over to later blocks by the
other one. The result is an even step of the last bound, so it never lacks a box that greedy NMS keeps; a chain that is
too long only leaves duplicates.

IoU > t is evaluated without a division, as ``intersection > (area_i + area_j) * t / (1 + t)``. Boxes of different
classes are separated by comparing labels: an offset for each class would cost 0.03 pixels at 80 classes in float32.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from edgevision.contract.nms import block_edges
from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR
from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import FLOAT, GraphBuilder, ints

CANDIDATES = ("nms.boxes", "nms.scores", "nms.labels")
"""Names of the inputs of NMS: float32 ``[B,K,4]``, float32 ``[B,K]``, int32 ``[B,K]``."""

_ZERO = np.float32(0)
_TINY = np.float32(1e-30)


@dataclass(frozen=True, slots=True)
class Carried:
    """Further values of each candidate, gathered only for the final detections."""

    values: str
    """float32 ``[B,N,D]``."""
    row: str
    """int64 ``[B,count]``: the candidate's index into N."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Box-class pairs, highest score first."""

    boxes: str
    """float32 ``[B,count,4]`` xyxy."""
    scores: str
    """float32 ``[B,count]``, descending."""
    labels: str
    """int32 ``[B,count]``."""
    count: int
    carried: Carried | None = None


@dataclass(frozen=True, slots=True)
class _Sides:
    """Terms of the IoU of two boxes: columns ``[B,K,1]`` or rows ``[B,1,K]``."""

    x1: str
    y1: str
    x2: str
    y2: str
    share: str
    """Area * t / (1 + t)."""
    label: str

    def values(self) -> tuple[str, ...]:
        return (self.x1, self.y1, self.x2, self.y2, self.share, self.label)


def cluster_nms(b: GraphBuilder, candidates: Candidates, nms: NmsSpec) -> Candidates:
    """Apply NMS and return `max_detections` rows by score; unused rows are 0 in all three values."""
    iou_threshold = b.named(IOU_THRESHOLD, np.array(nms.iou_threshold, np.float32))
    score_floor = b.named(SCORE_FLOOR, np.array(nms.score_floor, np.float32))
    values = (candidates.boxes, candidates.scores, candidates.labels)
    boxes, scores, labels = (b.alias(v, n) for v, n in zip(values, CANDIDATES, strict=True))
    candidates = replace(candidates, boxes=boxes, scores=scores, labels=labels)
    alive = b.op("Cast", b.op("GreaterOrEqual", candidates.scores, score_floor), to=FLOAT)
    columns = _sides(b, candidates, iou_threshold)
    keep = _keep(b, columns, b.op("Unsqueeze", alive, ints(1)), candidates.count, nms)
    scores = b.op("Mul", candidates.scores, b.op("Squeeze", keep, ints(1)))
    return _compact(b, replace(candidates, scores=scores), nms.max_detections)


def without_suppression(b: GraphBuilder, candidates: Candidates, nms: NmsSpec) -> Candidates:
    """Apply only the score threshold, and return `max_detections` rows in the form of `cluster_nms`."""
    score_floor = b.named(SCORE_FLOOR, np.array(nms.score_floor, np.float32))
    alive = b.op("Cast", b.op("GreaterOrEqual", candidates.scores, score_floor), to=FLOAT)
    scores = b.op("Mul", candidates.scores, alive)
    return _compact(b, replace(candidates, scores=scores), nms.max_detections)


def _sides(b: GraphBuilder, candidates: Candidates, iou_threshold: str) -> _Sides:
    x1, y1, x2, y2 = b.split(candidates.boxes, 2, (1, 1, 1, 1))
    width = b.op("Relu", b.op("Sub", x2, x1))
    height = b.op("Relu", b.op("Sub", y2, y1))
    area = b.op("Mul", width, height)
    # t / (1 + t) as (a * t) / (a + a * t): `IOU_THRESHOLD` explains why it must not be computed from the threshold
    # alone.
    part = b.op("Mul", area, iou_threshold)
    ratio = b.op("Div", part, b.op("Max", b.op("Add", area, part), _TINY))
    return _Sides(x1, y1, x2, y2, b.op("Mul", area, ratio), b.op("Unsqueeze", candidates.labels, ints(2)))


def _keep(b: GraphBuilder, columns: _Sides, alive: str, count: int, nms: NmsSpec) -> str:
    """The 0/1 keep row ``[B,1,count]`` of the candidates that `alive`, of the same shape, admits."""
    edges = block_edges(count, nms.block)
    sizes = [stop - start for start, stop in itertools.pairwise(edges)]
    alive_parts = b.split(alive, 2, sizes)
    row_parts = [b.split(b.op("Transpose", v, perm=[0, 2, 1]), 2, sizes) for v in columns.values()]
    uppers: list[str] = []
    lowers: list[str] = []
    for block, size in enumerate(sizes):
        start, stop = edges[block], edges[block + 1]
        rows = _Sides(*(parts[block] for parts in row_parts))
        available_upper = available_lower = alive_parts[block]
        if block:
            cross = b.op("Cast", _over(b, _cut(b, columns, 0, start, count), rows), to=FLOAT)
            available_upper = _step(b, alive_parts[block], b.concat(lowers, 2), cross)
            available_lower = _step(b, alive_parts[block], b.concat(uppers, 2), cross)
        later = np.triu(np.ones((1, size, size), np.bool_), 1)
        over = b.op("And", _over(b, _cut(b, columns, start, stop, count), rows), later)
        over = b.op("Cast", over, to=FLOAT)
        upper = available_upper
        for _ in range(nms.depth // 2):
            lower = _step(b, available_lower, upper, over)
            upper = _step(b, available_upper, lower, over)
        uppers.append(upper)
        if stop < count:
            lowers.append(_step(b, available_lower, upper, over))
    return b.concat(uppers, 2)


def _step(b: GraphBuilder, available: str, keep: str, over: str) -> str:
    return b.op("Relu", b.op("Sub", available, b.op("MatMul", keep, over)))


def _cut(b: GraphBuilder, columns: _Sides, start: int, stop: int, count: int) -> _Sides:
    if (start, stop) == (0, count):
        return columns
    return _Sides(*(b.slice(value, 1, start, stop) for value in columns.values()))


def _over(b: GraphBuilder, columns: _Sides, rows: _Sides) -> str:
    """bool ``[B,n,m]``: same label and IoU over the threshold.

    One side of the intersection may stay negative: a product with a negative side is below any sum of shares.
    """
    width = b.op("Sub", b.op("Min", columns.x2, rows.x2), b.op("Max", columns.x1, rows.x1))
    height = b.op("Sub", b.op("Min", columns.y2, rows.y2), b.op("Max", columns.y1, rows.y1))
    intersection = b.op("Mul", b.op("Relu", width), height)
    over = b.op("Greater", intersection, b.op("Add", columns.share, rows.share))
    return b.op("And", over, b.op("Equal", columns.label, rows.label))


def _compact(b: GraphBuilder, candidates: Candidates, rows: int) -> Candidates:
    """The best `rows` candidates, padded with zeros."""
    taken = min(rows, candidates.count)
    scores, index = b.ops("TopK", [candidates.scores, ints(taken)], 2, axis=1)
    index_column = b.op("Unsqueeze", index, ints(2))
    boxes = b.op("GatherND", candidates.boxes, index_column, batch_dims=1)
    labels = b.op("GatherElements", candidates.labels, index, axis=1)
    carried = candidates.carried
    row = b.op("GatherElements", carried.row, index, axis=1) if carried else ""
    kept = b.op("Greater", scores, _ZERO)
    boxes = b.op("Where", b.op("Unsqueeze", kept, ints(2)), boxes, _ZERO)
    labels = b.op("Where", kept, labels, np.int32(0))
    if taken < rows:
        missing = rows - taken
        boxes = b.op("Pad", boxes, ints(0, 0, 0, 0, missing, 0))
        scores = b.op("Pad", scores, ints(0, 0, 0, missing))
        labels = b.op("Pad", labels, ints(0, 0, 0, missing))
        row = b.op("Pad", row, ints(0, 0, 0, missing)) if carried else ""
    return Candidates(boxes, scores, labels, rows, replace(carried, row=row) if carried else None)
