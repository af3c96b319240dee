"""Head of the segmentation models of YOLOv8 and YOLO11: one decoded output with mask coefficients, and prototypes.

Facts: docs.ultralytics.com/tasks/segment; masks as in YOLACT (arXiv 1904.02689, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    boxes_per_cell,
    corners_from_xywh,
    plain_corners,
    take_rows,
)
from edgevision.graph.heads.pairs import best_by_class
from edgevision.graph.masks import MASK_STRIDE
from edgevision.graph.nms import Candidates

EXPECTED = "two outputs: [B, 4+C+M, N]: x y w h in pixels, class scores, coefficients; and prototypes [B, M, H/4, W/4]"


@dataclass(frozen=True, slots=True)
class YoloV8SegHead:
    """Columns ``[B,4+C+M,N]``: x y w h in pixels, class scores, coefficients; then prototypes."""

    rows: int
    class_count: int
    mask_count: int
    suppressed: bool = False

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best boxes by their best class, then their best pairs, which carry the coefficients."""
        rows = min(nms.candidates, self.rows)
        values = b.op("Transpose", outputs[0].name, perm=[0, 2, 1])
        scores, index = best_by_class(b, b.slice(values, 2, 4, 4 + self.class_count), rows)
        taken = take_rows(b, values, index)
        xy, wh, _, coefficients = b.split(taken, 2, (2, 2, self.class_count, self.mask_count))
        boxes = corners_from_xywh(b, xy, wh)
        return best_pairs(b, boxes, scores, rows, self.class_count, nms.candidates, carried=coefficients)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every column, without coefficients."""
        values = arrays[0].astype(np.float64).T
        return plain_corners(values[:, :2], values[:, 2:4]), values[:, 4 : 4 + self.class_count]

    def plain_coefficients(self, arrays: Sequence[Array]) -> Array:
        """The coefficients ``[N,M]`` of every box of `plain`."""
        return np.asarray(arrays[0].astype(np.float64).T[:, 4 + self.class_count :])


def mask_count_of(facts: NetworkFacts) -> int | None:
    """M of the prototypes ``[B,M,H/4,W/4]`` as the second of two outputs."""
    if len(facts.outputs) != 2 or len(facts.outputs[1].shape) != 4:
        return None
    _, count, *size_hw = facts.outputs[1].shape
    wanted = [facts.size_wh[1] // MASK_STRIDE, facts.size_wh[0] // MASK_STRIDE]
    return count if size_hw == wanted and count else None


def recognise(facts: NetworkFacts) -> YoloV8SegHead | None:
    """The head if there are columns ``[B,4+C+M,N]`` and prototypes of M channels."""
    masks = mask_count_of(facts)
    shape = facts.outputs[0].shape
    if masks is None or len(shape) != 3 or shape[1] is None or shape[2] is None or shape[2] <= shape[1]:
        return None
    count = shape[1] - 4 - masks
    return YoloV8SegHead(shape[2], count, masks) if facts.allows(count) else None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    columns = facts.outputs[0].shape[2] or 0
    if boxes_per_cell(facts.size_wh, columns) != 1:
        return (
            f"{columns} columns do not match the cells of an input of {facts.size_wh[0]}x{facts.size_wh[1]}"
        )
    if facts.tail & SELECTING:
        return "the network selects its boxes itself"
    if not facts.tail & ARITHMETIC or not facts.tail & SCORING:
        return "boxes are not decoded, or scores do not pass a Sigmoid"
    return None
