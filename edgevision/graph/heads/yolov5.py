"""Head of YOLOv5, v6 and v7 of the Ultralytics form in third-party exports: one decoded output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads.head import (
    ARITHMETIC,
    SCORING,
    SELECTING,
    Array,
    NetworkFacts,
    NetworkOutput,
    best_pairs,
    best_rows,
    boxes_per_cell,
    corners_from_xywh,
    plain_corners,
)
from edgevision.graph.nms import Candidates

EXPECTED = "one output [B, N, 5+C]: x y w h in pixels, objectness, class scores"


@dataclass(frozen=True, slots=True)
class YoloV5Head:
    """Rows ``[B, N, 5+C]`` of x y w h in pixels, objectness and class scores after the logistic function."""

    rows: int
    class_count: int
    suppressed: bool = False

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best rows by objectness, then their best box-class pairs."""
        rows = min(nms.candidates, self.rows)
        taken, _ = best_rows(b, outputs[0].name, 4, rows)
        xy, wh, objectness, classes = b.split(taken, 2, (2, 2, 1, self.class_count))
        boxes = corners_from_xywh(b, xy, wh)
        scores = b.op("Mul", objectness, classes)
        return best_pairs(b, boxes, scores, rows, self.class_count, nms.candidates)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every row."""
        values = arrays[0].astype(np.float64)
        return plain_corners(values[:, :2], values[:, 2:4]), values[:, 4:5] * values[:, 5:]

    def ranks(self, arrays: Sequence[Array]) -> Array:
        """Objectness of every row."""
        return np.asarray(arrays[0][:, 4].astype(np.float64))


def recognise(facts: NetworkFacts) -> YoloV5Head | None:
    """The head if there is one output ``[B, N, 5+C]``; the raw maps that some exports add are ignored."""
    decoded = replace(facts, outputs=tuple(output for output in facts.outputs if len(output.shape) != 5))
    lengths = decoded.single(3)
    if (
        lengths
        and facts.outputs[0] == decoded.outputs[0]
        and facts.allows(lengths[1] - 5)
        and lengths[0] > lengths[1]
    ):
        return YoloV5Head(lengths[0], lengths[1] - 5)
    return None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    rows = facts.outputs[0].shape[1] or 0
    per_cell = boxes_per_cell(facts.size_wh, rows)
    if facts.tail & SELECTING:
        return "the network selects its boxes itself"
    if per_cell is None:
        return f"{rows} rows do not match the cells of an input of {facts.size_wh[0]}x{facts.size_wh[1]}"
    if not facts.tail & ARITHMETIC:
        return "boxes are not decoded"
    if not facts.tail & SCORING:
        return "scores do not pass a Sigmoid"
    if facts.fixed_parts:
        return "a part of the output is constant: YOLOv6"
    if per_cell == 1 and "Exp" in facts.tail:
        return "boxes are decoded by exponentials"
    return None
