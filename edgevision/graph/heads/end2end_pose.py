"""Head of networks with finished boxes and keypoints, such as YOLO26's poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads import end2end
from edgevision.graph.heads.head import (
    SELECTING,
    Array,
    NetworkFacts,
    NetworkOutput,
    keypoint_shape_of,
    plain_points,
    unclear_keypoints,
)
from edgevision.graph.nms import Candidates, Carried

EXPECTED = (
    "one output [B, N, 6+K*D]: x1 y1 x2 y2 in pixels, score, class, K keypoints of x y (D = 2) or x y confidence"
    " (D = 3)"
)


@dataclass(frozen=True, slots=True)
class End2EndPoseHead:
    """Rows ``[B, N, 6+K*D]`` of finished boxes xyxy, score, label and keypoints in pixels."""

    class_count: int
    keypoint_shape: tuple[int, int]
    suppressed: bool = True

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best `nms.max_detections` boxes by score, which carry their keypoints."""
        values = self.keypoint_shape[0] * self.keypoint_shape[1]
        boxes, scores, labels, points = b.split(outputs[0].name, 2, (4, 1, 1, values))
        found, (points,), row = end2end.best_finished(b, (boxes, points), scores, labels, nms.max_detections)
        return Candidates(found.boxes, found.scores, found.labels, found.count, Carried(points, row))

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every box; each has a score only in its own class."""
        values = arrays[0].astype(np.float64)
        return values[:, :4], end2end.plain_scores(values[:, 4], values[:, 5], self.class_count)

    def plain_keypoints(self, arrays: Sequence[Array]) -> Array:
        """The keypoints ``[N,K,3]`` of every row."""
        return plain_points(arrays[0][:, 6:], self.keypoint_shape)


def recognise(facts: NetworkFacts) -> End2EndPoseHead | None:
    """The head if there is one output ``[B, N, 6+K*D]``, and the network selects its boxes or K and D are known.

    Without `class_count` it has 0 classes.
    """
    shape = facts.outputs[0].shape if len(facts.outputs) == 1 else ()
    selects = bool(facts.tail & SELECTING) and not {"Sin", "Cos"} & facts.tail
    if len(shape) != 3 or shape[2] is None or not (selects or facts.keypoint_shape):
        return None
    found = keypoint_shape_of(facts, shape[2] - 6)
    return None if found is None else End2EndPoseHead(facts.class_count or 0, found)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    return end2end.doubt(facts) or unclear_keypoints(facts, (facts.outputs[0].shape[2] or 0) - 6)
