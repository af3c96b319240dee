"""Head of YOLOv8, v9, v11 and later models of that form: one decoded output without objectness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.heads.head import (
    ARITHMETIC,
    SCORING,
    SELECTING,
    Array,
    NetworkFacts,
    NetworkOutput,
    best_pairs,
    boxes_per_cell,
    corners_from_xywh,
    plain_corners,
)
from edgevision.graph.nms import Candidates

EXPECTED = "one output [B, 4+C, N]: x y w h in pixels, class scores"


@dataclass(frozen=True, slots=True)
class YoloV8Head:
    """Columns ``[B, 4+C, N]`` of x y w h in pixels and class scores after the logistic function."""

    rows: int
    class_count: int
    suppressed: bool = False

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best boxes by their best class, which include all of the best pairs, then those pairs."""
        rows = min(nms.candidates, self.rows)
        taken = best_columns(b, outputs[0].name, self.class_count, 0, rows)
        xy, wh, scores = b.split(taken, 2, (2, 2, self.class_count))
        boxes = corners_from_xywh(b, xy, wh)
        return best_pairs(b, boxes, scores, rows, self.class_count, nms.candidates)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every column."""
        values = arrays[0].astype(np.float64).T
        return plain_corners(values[:, :2], values[:, 2:4]), values[:, 4:]


def best_columns(b: GraphBuilder, name: str, classes: int, further: int, rows: int) -> str:
    """The `rows` columns of ``[B, 4+classes+further, N]`` with the best class scores, as ``[B,rows,values]``."""
    best = b.reduce_max(b.slice(name, 1, 4, 4 + classes), 1)
    _, index = b.ops("TopK", [best, ints(rows)], 2, axis=1)
    # Adding zeros broadcasts an index to every value of its column; Expand would need the batch size.
    zeros = np.zeros((1, 4 + classes + further, 1), np.int64)
    places = b.op("Add", b.op("Unsqueeze", index, ints(1)), zeros)
    return b.op("Transpose", b.op("GatherElements", name, places, axis=2), perm=[0, 2, 1])


def recognise(facts: NetworkFacts) -> YoloV8Head | None:
    """The head if there is one output ``[B, 4+C, N]``."""
    lengths = facts.single(3)
    if lengths and facts.allows(lengths[0] - 4) and lengths[1] > lengths[0]:
        return YoloV8Head(lengths[1], lengths[0] - 4)
    return None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it.

    Models for poses, oriented boxes and masks join three values: boxes, class scores, and their own.
    """
    reason = doubt_of_columns(facts)
    if reason is not None:
        return reason
    if {"Sin", "Cos"} & facts.tail:
        return "boxes are oriented: the network computes sines and cosines"
    count = max(facts.joined, len(facts.parts))
    if count > 2:
        return f"the output joins {count} values, expected boxes and scores: a model for poses or masks?"
    return None


def doubt_of_columns(facts: NetworkFacts) -> str | None:
    """Why columns are not those of all cells with decoded boxes and scores; None if nothing speaks against it."""
    columns = facts.outputs[0].shape[2] or 0
    if facts.tail & SELECTING:
        return "the network selects its boxes itself"
    if boxes_per_cell(facts.size_wh, columns) != 1:
        return (
            f"{columns} columns do not match the cells of an input of {facts.size_wh[0]}x{facts.size_wh[1]}"
        )
    if not facts.tail & ARITHMETIC:
        return "boxes are not decoded"
    if not facts.tail & SCORING:
        return "scores do not pass a Sigmoid"
    return None
