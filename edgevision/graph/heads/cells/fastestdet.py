"""Head of FastestDet (github.com/dog-qiuqiu/FastestDet): one map with one box for each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.heads.head import (
    Array,
    NetworkFacts,
    NetworkOutput,
    best_pairs,
    best_rows,
    corners,
    logistic,
    plain_corners,
)
from edgevision.graph.nms import Candidates

EXPECTED = "one output [B, 5+C, h, w]: objectness, x y w h as logits, class scores"


@dataclass(frozen=True, slots=True)
class FastestDetHead:
    """A map ``[B, 5+C, h, w]`` of objectness, offsets and sizes as logits, and class scores.

    A box's centre is ``cell + tanh(offset)`` in cells, its size ``logistic(size)`` of the whole input, and its score
    ``objectness ** 0.6 * class ** 0.4``, as the authors evaluate it.
    """

    size_wh: tuple[int, int]
    map_wh: tuple[int, int]
    class_count: int
    suppressed: bool = False

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best cells by objectness, decoded, then their best box-class pairs."""
        width, height = self.map_wh
        rows = min(nms.candidates, width * height)
        flat = b.op("Reshape", outputs[0].name, ints(0, 5 + self.class_count, width * height))
        taken, index = best_rows(b, b.op("Transpose", flat, perm=[0, 2, 1]), 0, rows)
        objectness, offset, size, classes = b.split(taken, 2, (1, 2, 2, self.class_count))
        row, column = np.indices((height, width), np.float32)
        cell = b.op("Gather", np.stack([column.ravel(), row.ravel()], 1), index)
        step = np.array([self.size_wh[0] / width, self.size_wh[1] / height], np.float32)
        centre = b.op("Mul", b.op("Add", b.op("Tanh", offset), cell), step)
        half = b.op("Mul", b.op("Sigmoid", size), np.array(self.size_wh, np.float32) / 2)
        confidence = b.op("Pow", objectness, np.float32(0.6))
        scores = b.op("Mul", confidence, b.op("Pow", classes, np.float32(0.4)))
        boxes = corners(b, centre, half)
        return best_pairs(b, boxes, scores, rows, self.class_count, nms.candidates)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every cell."""
        width, height = self.map_wh
        values = arrays[0].astype(np.float64).reshape(5 + self.class_count, -1).T
        cell = np.stack([np.tile(np.arange(width), height), np.repeat(np.arange(height), width)], 1)
        xy = (np.tanh(values[:, 1:3]) + cell) * np.array(self.size_wh) / (width, height)
        wh = logistic(values[:, 3:5]) * self.size_wh
        return plain_corners(xy, wh), values[:, :1] ** 0.6 * values[:, 5:] ** 0.4

    def ranks(self, arrays: Sequence[Array]) -> Array:
        """Objectness of every cell."""
        return np.asarray(arrays[0][0].astype(np.float64).ravel())


def recognise(facts: NetworkFacts) -> FastestDetHead | None:
    """The head if there is one output ``[B, 5+C, h, w]`` whose sides divide the input's sides by the same number."""
    lengths = facts.single(4)
    if not lengths:
        return None
    values, height, width = lengths
    same = width * facts.size_wh[1] == height * facts.size_wh[0] and 0 < width < facts.size_wh[0]
    if facts.allows(values - 5) and same:
        return FastestDetHead(facts.size_wh, (width, height), values - 5)
    return None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    if {"Sigmoid", "Softmax"} <= facts.tail and facts.joined:
        return None
    return "the output is not objectness (Sigmoid), boxes and classes (Softmax) in one map"
