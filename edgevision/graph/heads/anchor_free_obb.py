"""Head of YOLOv8 to YOLO26 for the raw maps of oriented boxes: an anchor-free head's, and an angle for each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads.anchor_free import AnchorFreeHead
from edgevision.graph.heads.head import Array, NetworkOutput, best_pairs, logistic
from edgevision.graph.nms import Candidates


@dataclass(frozen=True, slots=True)
class AnchorFreeObbHead(AnchorFreeHead):
    """An anchor-free head whose third maps ``[B,1,h,w]`` are the angle of a box in radians, or its logit if `logit`.

    From a logit, the angle is (logistic(logit) - 1/4) * pi. Distances are measured along the box's own axes, so the
    offset of its centre from the cell's is rotated by the angle.
    """

    logit: bool = True

    @property
    def further(self) -> int:
        """One angle for each box."""
        return 1

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """Decode the best boxes by their best class, oriented."""
        best = self.best_boxes(b, outputs, nms)
        angle = best.further
        if self.logit:
            angle = b.op("Sub", b.op("Sigmoid", angle), np.float32(0.25))
            angle = b.op("Mul", angle, np.float32(np.pi))
        cos, sin = b.op("Cos", angle), b.op("Sin", angle)
        offset = b.op("Mul", b.op("Sub", best.after, best.before), np.float32(0.5))
        along, across = b.split(offset, 2, (1, 1))
        x = b.op("Sub", b.op("Mul", along, cos), b.op("Mul", across, sin))
        y = b.op("Add", b.op("Mul", along, sin), b.op("Mul", across, cos))
        xy = b.op("Add", b.concat((x, y), 2), best.centre)
        xywh = b.op("Mul", b.concat((xy, b.op("Add", best.before, best.after)), 2), best.stride)
        boxes = b.concat((xywh, angle), 2)
        return best_pairs(b, boxes, best.scores, best.rows, self.class_count, best.limit, oriented=True)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every box ``[N,5]`` x y w h angle of every map."""
        stride, centre, before, after = self.plain_distances(arrays)
        angle = self.plain_values(arrays, 2)
        if self.logit:
            angle = (logistic(angle) - 0.25) * np.pi
        along, across = np.split((after - before) / 2, 2, axis=1)
        cos, sin = np.cos(angle), np.sin(angle)
        offset = np.concatenate([along * cos - across * sin, along * sin + across * cos], 1)
        boxes = np.concatenate([(centre + offset) * stride, (before + after) * stride, angle], 1)
        return boxes, self.plain_scores(arrays)
