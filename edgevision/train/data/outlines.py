"""Converts outlines to masks of a quarter of the image's size: targets for networks of instance masks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.graph.masks import MASK_STRIDE

_FINE = 8
"""Sampling points for each cell, in both directions."""
_SHIFT = 4
"""Fractional bits of the coordinates passed to OpenCV."""

Polygons = Sequence[npt.NDArray[np.float32]]


def mask_from_polygons(
    polygons: Polygons, xyxy: npt.NDArray[np.float32], size_wh: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """The share of each cell that lies inside, of 255: uint8 ``[H/4,W/4]``; `polygons` in pixels of the image.

    Nothing is inside beyond `xyxy`, the visible part of the object. Shares instead of a binary value keep an edge in
    place when the mask is interpolated and thresholded at one half.
    """
    mask = np.zeros((size_wh[1] // MASK_STRIDE, size_wh[0] // MASK_STRIDE), np.uint8)
    left, top = (math.floor(float(value) / MASK_STRIDE) for value in xyxy[:2])
    right, bottom = (math.ceil(float(value) / MASK_STRIDE) for value in xyxy[2:])
    right, bottom = min(right, mask.shape[1]), min(bottom, mask.shape[0])
    if right <= left or bottom <= top:
        return mask
    fine = np.zeros(((bottom - top) * _FINE, (right - left) * _FINE), np.uint8)
    corner = np.array([left, top], np.float32) * MASK_STRIDE
    # Half-pixel centres; OpenCV also colours the outline itself, half a sampling point too far on every side.
    scaled = [(points - corner) * (_FINE / MASK_STRIDE) - 0.5 for points in polygons]
    for points in scaled:  # one by one: together they would cut holes where they overlap
        cv2.fillPoly(fine, [np.round(points * 2**_SHIFT).astype(np.int32)], 255, shift=_SHIFT)
    x0, y0, x1, y1 = np.round((xyxy - np.tile(corner, 2)) * (_FINE / MASK_STRIDE)).astype(int)
    seen = np.zeros_like(fine)
    seen[y0:y1, x0:x1] = fine[y0:y1, x0:x1]
    cells_wh = (right - left, bottom - top)
    mask[top:bottom, left:right] = cv2.resize(seen, cells_wh, interpolation=cv2.INTER_AREA)
    return mask
