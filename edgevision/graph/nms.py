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

`overlap` decides which pairs of candidates overlap: upright boxes by IoU, oriented ones by ProbIoU.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from edgevision.contract.nms import block_edges
from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR
from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import FLOAT, GraphBuilder, ints
from edgevision.graph.overlap import OrientedOverlap, Overlap, UprightOverlap

CANDIDATES = ("nms.boxes", "nms.scores", "nms.labels")
"""Names of the inputs of NMS: float32 ``[B,K,4]``, float32 ``[B,K]``, int32 ``[B,K]``."""

_ZERO = np.float32(0)


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
    """float32 ``[B,count,4]`` xyxy, or ``[B,count,5]`` x y w h angle if `oriented`."""
    scores: str
    """float32 ``[B,count]``, descending."""
    labels: str
    """int32 ``[B,count]``."""
    count: int
    carried: Carried | None = None
    oriented: bool = False


def cluster_nms(b: GraphBuilder, candidates: Candidates, nms: NmsSpec) -> Candidates:
    """Apply NMS and return `max_detections` rows by score; unused rows are 0 in all three values."""
    iou_threshold = b.named(IOU_THRESHOLD, np.array(nms.iou_threshold, np.float32))
    score_floor = b.named(SCORE_FLOOR, np.array(nms.score_floor, np.float32))
    values = (candidates.boxes, candidates.scores, candidates.labels)
    boxes, scores, labels = (b.alias(v, n) for v, n in zip(values, CANDIDATES, strict=True))
    candidates = replace(candidates, boxes=boxes, scores=scores, labels=labels)
    alive = b.op("Cast", b.op("GreaterOrEqual", candidates.scores, score_floor), to=FLOAT)
    overlap: Overlap = OrientedOverlap() if candidates.oriented else UprightOverlap()
    columns = overlap.terms(b, candidates.boxes, candidates.labels, iou_threshold)
    keep = _keep(b, overlap, columns, b.op("Unsqueeze", alive, ints(1)), candidates.count, nms)
    scores = b.op("Mul", candidates.scores, b.op("Squeeze", keep, ints(1)))
    return _compact(b, replace(candidates, scores=scores), nms.max_detections)


def without_suppression(b: GraphBuilder, candidates: Candidates, nms: NmsSpec) -> Candidates:
    """Apply only the score threshold, and return `max_detections` rows in the form of `cluster_nms`."""
    score_floor = b.named(SCORE_FLOOR, np.array(nms.score_floor, np.float32))
    alive = b.op("Cast", b.op("GreaterOrEqual", candidates.scores, score_floor), to=FLOAT)
    scores = b.op("Mul", candidates.scores, alive)
    return _compact(b, replace(candidates, scores=scores), nms.max_detections)


def _keep(
    b: GraphBuilder, overlap: Overlap, columns: tuple[str, ...], alive: str, count: int, nms: NmsSpec
) -> str:
    """The 0/1 keep row ``[B,1,count]`` of the candidates that `alive`, of the same shape, admits."""
    edges = block_edges(count, nms.block)
    sizes = [stop - start for start, stop in itertools.pairwise(edges)]
    alive_parts = b.split(alive, 2, sizes)
    row_parts = [b.split(b.op("Transpose", v, perm=[0, 2, 1]), 2, sizes) for v in columns]
    uppers: list[str] = []
    lowers: list[str] = []
    for block, size in enumerate(sizes):
        start, stop = edges[block], edges[block + 1]
        rows = [parts[block] for parts in row_parts]
        available_upper = available_lower = alive_parts[block]
        if block:
            cross = b.op("Cast", overlap.over(b, _cut(b, columns, 0, start, count), rows), to=FLOAT)
            available_upper = _step(b, alive_parts[block], b.concat(lowers, 2), cross)
            available_lower = _step(b, alive_parts[block], b.concat(uppers, 2), cross)
        later = np.triu(np.ones((1, size, size), np.bool_), 1)
        over = b.op("And", overlap.over(b, _cut(b, columns, start, stop, count), rows), later)
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


def _cut(b: GraphBuilder, columns: tuple[str, ...], start: int, stop: int, count: int) -> tuple[str, ...]:
    if (start, stop) == (0, count):
        return columns
    return tuple(b.slice(value, 1, start, stop) for value in columns)


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
    carried = replace(carried, row=row) if carried else None
    return replace(candidates, boxes=boxes, scores=scores, labels=labels, count=rows, carried=carried)
