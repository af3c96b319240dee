"""AP of detections that a runner wrote, by the same code for every program."""

from __future__ import annotations

import numpy as np

from edgevision.contract.results import Detections
from edgevision.evaluation.detection import LabelledImages, accuracy_from_detections


def average_precision(labelled: LabelledImages, found: dict[str, list[list[float]]]) -> tuple[float, float]:
    """AP and AP50 in percent. `found`: by image file, rows of x1, y1, x2, y2, confidence and class number."""
    image_of = {str(path.resolve()): key for key, path in labelled.files.items()}
    detections = []
    for file, rows in found.items():
        table = np.asarray(rows, np.float32).reshape(-1, 6)
        boxes, scores, labels = table[:, :4], table[:, 4], table[:, 5].astype(np.int32)
        detections.append((image_of[file], Detections(boxes, scores, labels)))
    accuracy = accuracy_from_detections(labelled, detections)
    return accuracy.ap, accuracy.ap50
