"""Head of segmentation models with finished boxes, such as YOLO26's: rows with mask coefficients, and prototypes.

Facts: docs.ultralytics.com/models/yolo26; rows are x1 y1 x2 y2 in pixels, score, label, coefficients; masks as in
YOLACT (arXiv 1904.02689, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import INT32, GraphBuilder, ints
from edgevision.graph.heads.head import Array, NetworkFacts, NetworkOutput, boxes_per_cell, take_rows
from edgevision.graph.heads.prototypes.yolov8_seg import mask_count_of
from edgevision.graph.nms import Candidates, Carried

EXPECTED = "two outputs: [B, N, 6+M] x1 y1 x2 y2 in pixels, score, class, coefficients; and prototypes [B, M, H/4, W/4]"


@dataclass(frozen=True, slots=True)
class End2EndSegHead:
    """Rows ``[B,N,6+M]`` of finished boxes with coefficients; then prototypes."""

    rows: int
    class_count: int
    mask_count: int
    suppressed: bool = True

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best rows by score, which carry their coefficients."""
        rows = min(nms.max_detections, self.rows)
        boxes, scores, labels, coefficients = b.split(outputs[0].name, 2, (4, 1, 1, self.mask_count))
        scores, index = b.ops("TopK", [b.op("Squeeze", scores, ints(2)), ints(rows)], 2, axis=1)
        labels = b.op(
            "Cast", b.op("GatherElements", b.op("Squeeze", labels, ints(2)), index, axis=1), to=INT32
        )
        return Candidates(take_rows(b, boxes, index), scores, labels, rows, Carried(coefficients, index))

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every row; each has a score only in its own class."""
        values = arrays[0].astype(np.float64)
        matrix = np.zeros((len(values), self.class_count))
        matrix[np.arange(len(values)), values[:, 5].astype(int)] = values[:, 4]
        return values[:, :4], matrix

    def plain_coefficients(self, arrays: Sequence[Array]) -> Array:
        """The coefficients ``[N,M]`` of every box of `plain`."""
        return arrays[0][:, 6:].astype(np.float64)


def recognise(facts: NetworkFacts) -> End2EndSegHead | None:
    """The head if there are rows ``[B,N,6+M]`` and prototypes of M channels."""
    masks = mask_count_of(facts)
    shape = facts.outputs[0].shape
    if masks is None or len(shape) != 3 or shape[1] is None or shape[1] == 0 or shape[2] != 6 + masks:
        return None
    return End2EndSegHead(shape[1], facts.class_count or facts.label_count or 0, masks)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    rows = facts.outputs[0].shape[1] or 0
    if boxes_per_cell(facts.size_wh, rows) in (1, 3):
        return f"{rows} rows are all boxes of a network of {facts.size_wh[0]}x{facts.size_wh[1]}"
    return None
