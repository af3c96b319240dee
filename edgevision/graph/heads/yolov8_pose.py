"""Head of YOLOv8's and YOLO11's models for poses: one decoded output with keypoints after the class scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads import yolov8
from edgevision.graph.heads.head import (
    Array,
    NetworkFacts,
    NetworkOutput,
    best_pairs,
    corners_from_xywh,
    keypoint_shape_of,
    plain_corners,
    plain_points,
    unclear_keypoints,
)
from edgevision.graph.nms import Candidates

EXPECTED = (
    "one output [B, 4+C+K*D, N]: x y w h in pixels, class scores, K keypoints of x y (D = 2) or x y"
    " confidence (D = 3)"
)


@dataclass(frozen=True, slots=True)
class YoloV8PoseHead:
    """Columns ``[B, 4+C+K*D, N]``: x y w h in pixels, class scores after the logistic function, keypoints in pixels."""

    rows: int
    class_count: int
    keypoint_shape: tuple[int, int]
    """K and D: D is 2 for x y, 3 with a confidence after the logistic function."""
    suppressed: bool = False

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best boxes by their best class, then their best pairs, which carry the keypoints."""
        rows, values = min(nms.candidates, self.rows), self.keypoint_shape[0] * self.keypoint_shape[1]
        taken = yolov8.best_columns(b, outputs[0].name, self.class_count, values, rows)
        xy, wh, scores, points = b.split(taken, 2, (2, 2, self.class_count, values))
        boxes = corners_from_xywh(b, xy, wh)
        return best_pairs(b, boxes, scores, rows, self.class_count, nms.candidates, carried=points)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every column."""
        values = arrays[0].astype(np.float64).T
        return plain_corners(values[:, :2], values[:, 2:4]), values[:, 4 : 4 + self.class_count]

    def plain_keypoints(self, arrays: Sequence[Array]) -> Array:
        """The keypoints ``[N,K,3]`` of every column."""
        return plain_points(arrays[0].T[:, 4 + self.class_count :], self.keypoint_shape)


def recognise(facts: NetworkFacts) -> YoloV8PoseHead | None:
    """The head if there is one output ``[B, 4+C+K*D, N]``, and something shows where the keypoints begin.

    That is `class_count`, or `keypoint_shape`, or three joined values of the lengths 4, C and K*D.
    """
    lengths = facts.single(3)
    if not lengths or lengths[1] <= lengths[0]:
        return None
    if facts.class_count is not None:
        count = facts.class_count
    elif facts.keypoint_shape is not None:
        count = lengths[0] - 4 - facts.keypoint_shape[0] * facts.keypoint_shape[1]
    elif len(facts.parts) == 3 and facts.parts[0] == 4 and facts.parts[1] is not None:
        count = facts.parts[1]
    else:
        return None
    shape = keypoint_shape_of(facts, lengths[0] - 4 - count)
    return None if shape is None or not facts.allows(count) else YoloV8PoseHead(lengths[1], count, shape)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    reason = yolov8.doubt_of_columns(facts)
    if reason is not None:
        return reason
    if {"Sin", "Cos"} & facts.tail:
        return "boxes are oriented: the network computes sines and cosines"
    found = recognise(facts)
    if found is None:
        return "the output has no keypoints"
    count, values = found.class_count, found.keypoint_shape[0] * found.keypoint_shape[1]
    if facts.parts != (4, count, values) and facts.keypoint_shape is None:
        joined = ", ".join(map(str, facts.parts)) or "unknown"
        return f"the output joins values of the lengths {joined}; expected 4, {count}, {values} for a pose"
    return unclear_keypoints(facts, values)
