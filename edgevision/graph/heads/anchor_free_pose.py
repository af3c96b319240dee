"""Head of YOLOv8 to YOLO26 for the raw maps of poses: an anchor-free head's, and keypoints for each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.heads.anchor_free import AnchorFreeHead, BestBoxes
from edgevision.graph.heads.head import Array, NetworkOutput, logistic, plain_points
from edgevision.graph.nms import Candidates, Carried


@dataclass(frozen=True, slots=True)
class AnchorFreePoseHead(AnchorFreeHead):
    """An anchor-free head whose third maps ``[B,K*D,h,w]`` are x y, or x y and a confidence's logit, of K keypoints.

    x and y are in strides: from the cell's centre if `centred`, else half of the distance from its corner.
    """

    keypoint_shape: tuple[int, int] = (17, 3)
    """K and D: D is 2 without confidence, 3 with it."""
    centred: bool = False

    @property
    def further(self) -> int:
        """Values of all keypoints of a box."""
        return self.keypoint_shape[0] * self.keypoint_shape[1]

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """Decode the best boxes by their best class, with their keypoints in pixels."""
        best = self.best_boxes(b, outputs, nms)
        found = self.pairs(b, best)
        assert found.carried is not None, "the third maps are carried"
        return replace(found, carried=Carried(self._keypoints(b, best), found.carried.row))

    def _keypoints(self, b: GraphBuilder, best: BestBoxes) -> str:
        """Keypoints ``[B,rows,K*D]`` in pixels, confidences in 0..1."""
        count, each = self.keypoint_shape
        points = b.op("Reshape", best.further, ints(0, best.rows, count, each))
        xy, *confidence = b.split(points, 3, (2, 1)) if each == 3 else (points,)
        factor, shift = (1.0, 0.0) if self.centred else (2.0, 0.5)
        origin = b.op("Unsqueeze", b.op("Sub", best.centre, np.float32(shift)), ints(2))
        xy = b.op("Add", b.op("Mul", xy, np.float32(factor)), origin)
        xy = b.op("Mul", xy, b.op("Unsqueeze", best.stride, ints(2)))
        values = [xy, *(b.op("Sigmoid", value) for value in confidence)]
        return b.op("Reshape", b.concat(values, 3), ints(0, best.rows, self.further))

    def plain_keypoints(self, arrays: Sequence[Array]) -> Array:
        """The keypoints ``[N,K,3]`` of every box."""
        stride, centre, _, _ = self.plain_distances(arrays)
        points = plain_points(self.plain_values(arrays, 2), self.keypoint_shape)
        factor, shift = (1.0, 0.0) if self.centred else (2.0, 0.5)
        points[:, :, :2] = (points[:, :, :2] * factor + (centre - shift)[:, None]) * stride[:, None]
        if self.keypoint_shape[1] == 3:
            points[:, :, 2] = logistic(points[:, :, 2])
        return points
