"""Heads of networks that return decoded boxes and scores: the decoding is a part of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec, Task
from edgevision.errors import GraphError
from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.heads.head import Array, NetworkOutput, best_pairs, plain_points, take_rows
from edgevision.graph.heads.pairs import best_by_class
from edgevision.graph.nms import Candidates

EXPECTED: dict[Task, tuple[str, ...]] = {
    "detect": (
        "boxes [B, N, 4]: x1 y1 x2 y2 in input pixels",
        "scores [B, N, C] in 0..1",
    ),
    "instances": (
        "boxes [B, N, 4]: x1 y1 x2 y2 in input pixels",
        "scores [B, N, C] in 0..1",
        "coefficients [B, N, M]",
        "prototypes [B, M, H/4, W/4]",
    ),
    "pose": (
        "boxes [B, N, 4]: x1 y1 x2 y2 in input pixels",
        "scores [B, N, C] in 0..1",
        "keypoints [B, N, P, 3]: x y in input pixels, confidence; or [B, N, P, 2]",
    ),
    "obb": (
        "boxes [B, N, 5]: centre x y, width, height in input pixels, angle in radians",
        "scores [B, N, C] in 0..1",
    ),
}
"""The outputs of a network for each task, in their order."""


@dataclass(frozen=True, slots=True)
class DecodedHead:
    """Boxes ``[B,N,4]`` xyxy in input pixels and scores ``[B,N,C]`` in 0..1.

    `suppressed` is True if the boxes are final: the graph then has no NMS.
    """

    class_count: int
    suppressed: bool = False
    oriented: bool = False
    """True if boxes are ``[B,N,5]``: centre x y, width, height, and angle in radians."""

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best boxes by their best class, then their best box-class pairs with their further values."""
        boxes, scores, *further = outputs
        limit = nms.max_detections if self.suppressed else nms.candidates
        rows = min(limit, boxes.shape[1] or 0)
        taken, index = best_by_class(b, scores.name, rows)
        carried = take_rows(b, self.rows_of(b, further[0]), index) if further else ""
        kept = take_rows(b, boxes.name, index)
        return best_pairs(
            b, kept, taken, rows, self.class_count, limit, carried=carried, oriented=self.oriented
        )

    def rows_of(self, b: GraphBuilder, further: NetworkOutput) -> str:
        """Further values of each box, ``[B,N,D]``."""
        return further.name if len(further.shape) == 3 else b.op("Reshape", further.name, ints(0, 0, -1))

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Boxes and scores as they are."""
        return arrays[0].astype(np.float64), arrays[1].astype(np.float64)


@dataclass(frozen=True, slots=True)
class DecodedPoseHead(DecodedHead):
    """Boxes, scores and keypoints ``[B,N,P,D]``: x y in input pixels, and with D = 3 a confidence in 0..1."""

    keypoint_shape: tuple[int, int] = (17, 3)
    """P and D."""

    def plain_keypoints(self, arrays: Sequence[Array]) -> Array:
        """The keypoints ``[N,P,3]`` of every box."""
        return plain_points(arrays[2], self.keypoint_shape)


@dataclass(frozen=True, slots=True)
class DecodedMaskHead(DecodedHead):
    """Boxes, scores, coefficients ``[B,N,M]``, and prototypes of masks ``[B,M,H/4,W/4]``."""

    mask_count: int = 32

    def plain_coefficients(self, arrays: Sequence[Array]) -> Array:
        """The coefficients ``[N,M]`` of every box."""
        return arrays[2].astype(np.float64)


def decoded_head(
    task: Task, outputs: Sequence[NetworkOutput], class_count: int, *, suppressed: bool = False
) -> DecodedHead:
    """The head for a task's outputs as `EXPECTED` describes them; raises `GraphError` for others."""
    if not _fits(task, outputs):
        raise GraphError(
            f"task {task} expects {_listed(EXPECTED[task])}; received {_listed([str(output) for output in outputs])}"
        )
    received = outputs[1].shape[2]
    if received != class_count:
        raise GraphError(
            f"there are {class_count} class names; the scores are of {received} classes: {outputs[1]}"
        )
    if task == "pose":
        points = (outputs[2].shape[2] or 0, outputs[2].shape[3] or 0)
        return DecodedPoseHead(class_count, suppressed, keypoint_shape=points)
    if task == "instances":
        return DecodedMaskHead(class_count, suppressed, mask_count=outputs[2].shape[2] or 0)
    return DecodedHead(class_count, suppressed, oriented=task == "obb")


def _fits(task: Task, outputs: Sequence[NetworkOutput]) -> bool:
    if len(outputs) != len(EXPECTED[task]) or any(output.dtype != "float32" for output in outputs):
        return False
    boxes, scores, *further = (output.shape[1:] for output in outputs)
    if len(boxes) != 2 or len(scores) != 2 or boxes[0] != scores[0] or not boxes[0]:
        return False
    if boxes[1] != (5 if task == "obb" else 4):
        return False
    if task == "pose":
        return len(further[0]) == 3 and further[0][0] == boxes[0] and further[0][2] in (2, 3)
    if task == "instances":
        coefficients, prototypes = further
        return len(coefficients) == 2 and len(prototypes) == 3 and coefficients == (boxes[0], prototypes[0])
    return True


def _listed(values: Sequence[str]) -> str:
    return f"{len(values)} output{'' if len(values) == 1 else 's'}: {'; '.join(values)}"
