"""Head of YOLOv6 (arXiv 2209.02976) as its authors export it: decoded, with an objectness that is always 1.

Facts: github.com/meituan/YOLOv6, yolov6/models/effidehead.py: x y w h in pixels, a column of ones, class scores after
the logistic function. Boxes must be selected by their classes: the column of ones orders nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads.head import (
    SELECTING,
    Array,
    NetworkFacts,
    NetworkOutput,
    best_pairs,
    boxes_per_cell,
    corners_from_xywh,
    plain_corners,
    take_rows,
)
from edgevision.graph.heads.pairs import best_by_class
from edgevision.graph.nms import Candidates

EXPECTED = "one output [B, N, 5+C]: x y w h in pixels, 1, class scores"


@dataclass(frozen=True, slots=True)
class YoloV6Head:
    """Rows ``[B,N,5+C]`` of x y w h in pixels, a constant and class scores."""

    rows: int
    class_count: int
    suppressed: bool = False

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best rows by their best class, then their best box-class pairs."""
        name, rows = outputs[0].name, min(nms.candidates, self.rows)
        scores, index = best_by_class(b, b.slice(name, 2, 5, 5 + self.class_count), rows)
        xy, wh = b.split(take_rows(b, b.slice(name, 2, 0, 4), index), 2, (2, 2))
        return best_pairs(b, corners_from_xywh(b, xy, wh), scores, rows, self.class_count, nms.candidates)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every row."""
        values = arrays[0].astype(np.float64)
        return plain_corners(values[:, :2], values[:, 2:4]), values[:, 5:]


def recognise(facts: NetworkFacts) -> YoloV6Head | None:
    """The head if there is one output ``[B,N,5+C]``."""
    lengths = facts.single(3)
    if lengths and facts.allows(lengths[1] - 5) and lengths[0] > 0:
        return YoloV6Head(lengths[0], lengths[1] - 5)
    return None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    if facts.fixed_parts == 0:
        return "no part of the output is constant"
    if facts.tail & SELECTING:
        return "the network selects its boxes itself"
    rows = facts.outputs[0].shape[1] or 0
    if boxes_per_cell(facts.size_wh, rows) is None:
        return f"{rows} rows do not match the cells of an input of {facts.size_wh[0]}x{facts.size_wh[1]}"
    return None
