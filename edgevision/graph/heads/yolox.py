"""Head of YOLOX (arXiv 2107.08430) as its authors export it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads.head import (
    SCORING,
    SELECTING,
    Array,
    NetworkFacts,
    NetworkOutput,
    best_pairs,
    best_rows,
    cells,
    corners,
    plain_corners,
)
from edgevision.graph.nms import Candidates

STRIDES = (8, 16, 32)
EXPECTED = "one output [B, N, 5+C] with N cells at strides 8, 16, 32: x y w h, objectness, class scores"


@dataclass(frozen=True, slots=True)
class YoloXHead:
    """Rows ``[B, N, 5+C]`` of x y w h, objectness and class scores, with the logistic function applied to the scores.

    In the authors' export x and y are offsets from a cell and w and h logarithms, both in strides. With
    ``--decode_in_inference`` all four are in pixels (`decoded`).
    """

    size_wh: tuple[int, int]
    class_count: int
    decoded: bool
    suppressed: bool = False

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best rows by objectness, decoded, then their best box-class pairs."""
        table = cells(self.size_wh, STRIDES)
        rows = min(nms.candidates, len(table))
        taken, index = best_rows(b, outputs[0].name, 4, rows)
        xy, wh, objectness, classes = b.split(taken, 2, (2, 2, 1, self.class_count))
        if not self.decoded:
            corner, stride = b.split(b.op("Gather", table, index), 2, (2, 1))
            xy = b.op("Mul", b.op("Add", xy, corner), stride)
            wh = b.op("Mul", b.op("Exp", wh), stride)
        boxes = corners(b, xy, b.op("Mul", wh, np.float32(0.5)))
        scores = b.op("Mul", objectness, classes)
        return best_pairs(b, boxes, scores, rows, self.class_count, nms.candidates)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every row."""
        values = arrays[0].astype(np.float64)
        xy, wh = values[:, :2], values[:, 2:4]
        if not self.decoded:
            table = cells(self.size_wh, STRIDES)
            xy, wh = (xy + table[:, :2]) * table[:, 2:], np.exp(wh) * table[:, 2:]
        return plain_corners(xy, wh), values[:, 4:5] * values[:, 5:]

    def ranks(self, arrays: Sequence[Array]) -> Array:
        """Objectness of every row."""
        return np.asarray(arrays[0][:, 4].astype(np.float64))


def recognise(facts: NetworkFacts) -> YoloXHead | None:
    """The head if there is one output ``[B, N, 5+C]`` with the number of cells of the input's size.

    Decoding needs exponentials, and the network itself has none: an ``Exp`` in the graph means that it decodes.
    """
    lengths = facts.single(3)
    if lengths and facts.allows(lengths[1] - 5) and 0 < lengths[0] == len(cells(facts.size_wh, STRIDES)):
        return YoloXHead(facts.size_wh, lengths[1] - 5, "Exp" in facts.operators)
    return None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    if facts.tail & SELECTING:
        return "the network selects its boxes itself"
    if facts.fixed_parts:
        return "a part of the output is constant: YOLOv6"
    if facts.leading == {"Sigmoid"}:
        return "the first values pass a Sigmoid: NanoDet"
    return None if facts.tail & SCORING else "scores do not pass a Sigmoid"
