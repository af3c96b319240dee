"""Class-aware NMS of static shape: MatMuls and comparisons, no plugin, no loop.

Greedy NMS is the only solution of ``keep[j] = not any(keep[i] and over[i, j] for i < j)`` with candidates in descending
order of score. Cluster-NMS (Zheng et al., arXiv 2005.03572) iterates that equation from "all kept". Step k is correct
for every box at the end of a chain of up to k suppressions, so `NmsSpec.depth` unrolled steps are exact up to that
length.

A step is ``keep = relu(1 - keep @ over)`` with the 0/1 matrix ``over``. The first positions belong to no candidate:
their keep value is always 1, and the matrix has the constant of the equation in their first row. With this matrix,
``relu(keep @ matrix)`` is the whole step: one product, which engines fuse with its Relu.

For longer chains the iteration is bounded from both sides, because a step turns a superset of the correct result into a
subset and vice versa. From "all kept", even steps hold supersets (`upper`) and odd ones subsets (`lower`). More than
`NmsSpec.block` candidates are processed in blocks in the order of their scores: kept boxes of earlier blocks first
suppress candidates of later ones. That leaves half the pairs and much shorter rows to iterate on. Each bound is carried
over to later blocks by the other one. The result is an even step of the last bound, so it never lacks a box that greedy
NMS keeps; a chain that is too long only leaves duplicates.

Candidates below the score threshold take part: they follow all others, so they suppress none of them. Their scores are
set to 0.

`overlap` decides which pairs of candidates overlap: upright boxes by IoU, oriented ones by ProbIoU.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgevision.contract.nms import block_edges
from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR
from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import FLOAT, GraphBuilder, ints
from edgevision.graph.overlap import OrientedOverlap, Overlap, UprightOverlap

CANDIDATES = ("nms.boxes", "nms.scores", "nms.labels")
"""Names of the inputs of NMS: float32 ``[B,K,4]``, float32 ``[B,K]``, int32 ``[B,K]``."""

_ZERO = np.float32(0)
_ALIGNMENT = 8
"""The matrix of the first block has a multiple of this many rows: products with it are faster."""


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
    values = (candidates.boxes, candidates.scores, candidates.labels)
    boxes, scores, labels = (b.alias(v, n) for v, n in zip(values, CANDIDATES, strict=True))
    candidates = replace(candidates, boxes=boxes, scores=scores, labels=labels)
    edges = block_edges(candidates.count, nms.block)
    fixed = _ALIGNMENT - edges[1] % _ALIGNMENT
    padded = (
        b.op("Pad", boxes, ints(0, fixed, 0, 0, 0, 0)),
        b.op("Pad", labels, ints(0, fixed, 0, 0), np.int32(-1)),
    )
    overlap: Overlap = OrientedOverlap() if candidates.oriented else UprightOverlap()
    columns = overlap.terms(b, *padded, iou_threshold)
    keep = _keep(b, overlap, columns, (0, *(fixed + edge for edge in edges[1:])), fixed, nms.depth)
    keep = b.op("Squeeze", b.slice(keep, 2, fixed, fixed + candidates.count), ints(1))
    scores = b.op("Mul", _above_floor(b, scores, nms), keep)
    return _compact(b, replace(candidates, scores=scores), nms.max_detections)


def without_suppression(b: GraphBuilder, candidates: Candidates, nms: NmsSpec) -> Candidates:
    """Apply only the score threshold, and return `max_detections` rows in the form of `cluster_nms`."""
    scores = _above_floor(b, candidates.scores, nms)
    return _compact(b, replace(candidates, scores=scores), nms.max_detections)


def _above_floor(b: GraphBuilder, scores: str, nms: NmsSpec) -> str:
    """Scores with 0 in place of those below the threshold; NaN stays NaN."""
    score_floor = b.named(SCORE_FLOOR, np.array(nms.score_floor, np.float32))
    return b.op("Mul", scores, b.op("Cast", b.op("GreaterOrEqual", scores, score_floor), to=FLOAT))


def _keep(
    b: GraphBuilder, overlap: Overlap, columns: tuple[str, ...], edges: Sequence[int], fixed: int, depth: int
) -> str:
    """The 0/1 keep row ``[B,1,edges[-1]]`` of `fixed` positions that are always kept, and the candidates."""
    sizes = [stop - start for start, stop in itertools.pairwise(edges)]
    row_parts = [b.split(b.op("Reshape", v, ints(0, 1, -1)), 2, sizes) for v in columns]
    column_parts = [b.split(v, 1, sizes) for v in columns]
    uppers: list[str] = []
    lowers: list[str] = []
    for block, size in enumerate(sizes):
        rows = [parts[block] for parts in row_parts]
        later = np.triu(np.ones((1, size, size), np.bool_), 1)
        within = later if block else later & (np.arange(size) >= fixed)[:, None]
        over = b.op("And", overlap.over(b, [parts[block] for parts in column_parts], rows), within)
        over = b.op("Cast", over, to=FLOAT)
        upper, available = b.constant(np.ones((1, 1, size), np.float32)), ("", "")
        if block:
            before = [b.slice(v, 1, 0, edges[block]) for v in columns]
            cross = b.op("Cast", overlap.over(b, before, rows), to=FLOAT)
            cross = b.op("Sub", _first_row(edges[block]), cross)
            upper, lower = (_step(b, b.concat(kept, 2), cross) for kept in (lowers, uppers))
            available = (upper, lower)
        else:
            over = b.op("Sub", _first_row(size), over)
        for _ in range(depth // 2):
            lower = _step(b, upper, over, available[1])
            upper = _step(b, lower, over, available[0])
        uppers.append(upper)
        if block < len(sizes) - 1:
            lowers.append(_step(b, upper, over, available[1]))
    return b.concat(uppers, 2)


def _first_row(rows: int) -> npt.NDArray[np.float32]:
    """``[1,rows,1]``: 1 in the first row, else 0."""
    column = np.zeros((1, rows, 1), np.float32)
    column[0, 0] = 1
    return column


def _step(b: GraphBuilder, keep: str, matrix: str, available: str = "") -> str:
    """``relu(keep @ matrix)``; with `available` ``[B,1,size]`` the matrix is that of `over` alone."""
    product = b.op("MatMul", keep, matrix)
    return b.op("Relu", b.op("Sub", available, product) if available else product)


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
