"""Head of YOLOv8's and YOLO11's models for oriented boxes: one decoded output with the angle as its last value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads import yolov8
from edgevision.graph.heads.head import Array, NetworkFacts, NetworkOutput, best_pairs
from edgevision.graph.nms import Candidates

EXPECTED = "one output [B, 4+C+1, N]: x y w h in pixels, class scores, angle in radians"


@dataclass(frozen=True, slots=True)
class YoloV8ObbHead:
    """Columns ``[B, 4+C+1, N]``: x y w h in pixels, class scores after the logistic function, angle of w in radians."""

    rows: int
    class_count: int
    suppressed: bool = False

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best boxes by their best class, then their best pairs, oriented."""
        rows = min(nms.candidates, self.rows)
        taken = yolov8.best_columns(b, outputs[0].name, self.class_count, 1, rows)
        xywh, scores, angle = b.split(taken, 2, (4, self.class_count, 1))
        boxes = b.concat((xywh, angle), 2)
        return best_pairs(b, boxes, scores, rows, self.class_count, nms.candidates, oriented=True)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every column; boxes are ``[N,5]`` x y w h angle."""
        values = arrays[0].astype(np.float64).T
        return np.concatenate([values[:, :4], values[:, -1:]], 1), values[:, 4:-1]


def recognise(facts: NetworkFacts) -> YoloV8ObbHead | None:
    """The head if there is one output ``[B, 4+C+1, N]``, and the network turns boxes by sines and cosines."""
    lengths = facts.single(3)
    if lengths and {"Sin", "Cos"} <= facts.tail and facts.allows(lengths[0] - 5) and lengths[1] > lengths[0]:
        return YoloV8ObbHead(lengths[1], lengths[0] - 5)
    return None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    return yolov8.doubt_of_columns(facts)
