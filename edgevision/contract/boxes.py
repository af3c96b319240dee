"""Box functions in numpy; xyxy means left, top, right, bottom."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.floating[Any]]


def area(xyxy: Boxes) -> npt.NDArray[np.float64]:
    """Areas ``[N]`` of boxes ``[N,4]``; an inverted box has area 0."""
    sides = np.clip(xyxy[:, 2:].astype(np.float64) - xyxy[:, :2], 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1])


def overlaps(left_xyxy: Boxes, right_xyxy: Boxes) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Areas of intersection and union ``[N,M]`` of ``[N,4]`` with ``[M,4]``."""
    left, right = left_xyxy.astype(np.float64), right_xyxy.astype(np.float64)
    # Column by column: arrays [N,M,2] take three times as long.
    width = np.minimum(left[:, 2, None], right[:, 2]) - np.maximum(left[:, 0, None], right[:, 0])
    height = np.minimum(left[:, 3, None], right[:, 3]) - np.maximum(left[:, 1, None], right[:, 1])
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    return intersection, area(left)[:, None] + area(right)[None, :] - intersection


def iou_matrix(left_xyxy: Boxes, right_xyxy: Boxes) -> npt.NDArray[np.float64]:
    """IoU ``[N,M]`` of ``[N,4]`` with ``[M,4]``; 0 if both boxes are empty."""
    intersection, union = overlaps(left_xyxy, right_xyxy)
    return np.asarray(np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0))
