"""Scores and binned distances to the sides of a box for each cell: what NanoDet and PicoDet share.

The distance to a side is the mean of a distribution over bins, in strides (Generalized Focal Loss, arXiv 2006.04388,
section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.heads.head import Array, NetworkOutput, best_pairs, take_rows
from edgevision.graph.heads.pairs import best_by_class
from edgevision.graph.nms import Candidates


@dataclass(frozen=True, slots=True)
class DistanceHead:
    """Scores ``[B,N,C]`` after the logistic function, and logits of distances ``[B,N,4*bins]``, over all levels.

    With `scores` and `distances` they are outputs of each level; without, one output ``[B,N,C+4*bins]`` holds both.
    """

    size_wh: tuple[int, int]
    strides: tuple[int, ...]
    class_count: int
    bins: int
    centre: float
    """Place of a cell's point in the cell: 0 its corner, 0.5 its centre."""
    scores: tuple[int, ...] = ()
    distances: tuple[int, ...] = ()
    suppressed: bool = False

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best cells by their best class, decoded, then their best box-class pairs."""
        table = points(self.size_wh, self.strides, self.centre)
        rows = min(nms.candidates, len(table))
        if self.scores:
            scores = b.concat([outputs[i].name for i in self.scores], 1)
            raw = b.concat([outputs[i].name for i in self.distances], 1)
        else:
            scores, raw = b.split(outputs[0].name, 2, (self.class_count, 4 * self.bins))
        taken, index = best_by_class(b, scores, rows)
        raw = b.op("Reshape", take_rows(b, raw, index), ints(0, rows, 4, self.bins))
        bins = np.arange(self.bins, dtype=np.float32)[:, None]
        sides = b.op("Reshape", b.op("MatMul", b.op("Softmax", raw, axis=3), bins), ints(0, rows, 4))
        point, stride = b.split(b.op("Gather", table, index), 2, (2, 1))
        before, after = b.split(b.op("Mul", sides, stride), 2, (2, 2))
        boxes = b.op("Concat", b.op("Sub", point, before), b.op("Add", point, after), axis=2)
        return best_pairs(b, boxes, taken, rows, self.class_count, nms.candidates)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every cell."""
        if self.scores:
            scores = np.concatenate([arrays[i] for i in self.scores]).astype(np.float64)
            raw = np.concatenate([arrays[i] for i in self.distances]).astype(np.float64)
        else:
            scores, raw = np.split(arrays[0].astype(np.float64), [self.class_count], axis=1)
        raw = raw.reshape(len(raw), 4, self.bins)
        weights = np.exp(raw - raw.max(axis=2, keepdims=True))
        sides = (weights * np.arange(self.bins)).sum(axis=2) / weights.sum(axis=2)
        table = points(self.size_wh, self.strides, self.centre).astype(np.float64)
        sides *= table[:, 2:]
        return np.concatenate([table[:, :2] - sides[:, :2], table[:, :2] + sides[:, 2:]], axis=1), scores


def points(size_wh: tuple[int, int], strides: tuple[int, ...], centre: float) -> npt.NDArray[np.float32]:
    """Point x y in pixels and stride ``[N,3]`` of every cell; a map covers the input's edge with a part of a cell."""
    tables = []
    for stride in strides:
        row, column = np.indices((-(-size_wh[1] // stride), -(-size_wh[0] // stride)), np.float32)
        xy = (np.stack([column.ravel(), row.ravel()], 1) + centre) * stride
        tables.append(np.concatenate([xy, np.full((len(xy), 1), stride)], axis=1))
    return np.concatenate(tables).astype(np.float32)


def cell_counts(size_wh: tuple[int, int], strides: tuple[int, ...]) -> list[int]:
    """Number of cells of each level."""
    return [-(-size_wh[0] // stride) * -(-size_wh[1] // stride) for stride in strides]
