"""The final detections of a head's plain decoding, with greedy NMS in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.contract.nms import greedy_nms
from edgevision.contract.spec import NmsSpec
from edgevision.graph.heads.head import DetectionHead

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class PlainDetections:
    """Detections, best first, all of which NMS keeps; `rows` index the boxes of `plain`."""

    rows: Array
    boxes: Array
    scores: Array
    labels: Array


def best_pairs_plain(raw: list[Array], head: DetectionHead, nms: NmsSpec) -> PlainDetections:
    """Every final detection of one frame, in the network's pixels; `max_detections` is not applied."""
    boxes, matrix = head.plain(raw)
    flat = matrix.ravel()
    best = np.argsort(-flat, kind="stable")[: nms.candidates]
    best = best[flat[best] >= nms.score_floor]
    rows, scores, labels = best // matrix.shape[1], flat[best], best % matrix.shape[1]
    if not head.suppressed:
        kept = greedy_nms(boxes[rows], scores, labels, nms.iou_threshold)
        rows, scores, labels = rows[kept], scores[kept], labels[kept]
    return PlainDetections(rows, boxes[rows], scores, labels)
