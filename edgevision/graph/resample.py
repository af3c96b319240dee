"""Scales images by two constant matrices, for methods that ONNX's Resize lacks.

Bilinear and area sampling are linear and separable: ``out = rows @ frame @ columns.T``. A crop is a matrix with fewer
rows. The result equals cv2.resize before its rounding to whole pixel values.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgevision.contract.spec import Fit
from edgevision.errors import GraphError

Matrix = npt.NDArray[np.float32]


def bilinear_matrix(source: int, target: int) -> Matrix:
    """Weights ``[target, source]`` of bilinear sampling at half-pixel centres, without antialiasing."""
    centre = (np.arange(target) + 0.5) * (source / target) - 0.5
    centre = np.clip(centre, 0, source - 1)
    left = np.minimum(np.floor(centre).astype(int), max(source - 2, 0))
    weight = centre - left
    matrix = np.zeros((target, source))
    rows = np.arange(target)
    np.add.at(matrix, (rows, left), 1 - weight)
    np.add.at(matrix, (rows, np.minimum(left + 1, source - 1)), weight)
    return np.asarray(matrix, np.float32)


def area_matrix(source: int, target: int) -> Matrix:
    """Weights ``[target, source]`` of averaging the source pixels that each pixel of a smaller target covers."""
    edges = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)
    cover = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    cover = np.maximum(cover, 0)
    return np.asarray(cover / cover.sum(axis=1, keepdims=True), np.float32)


def resample_matrices(
    frame_wh: tuple[int, int], network_wh: tuple[int, int], fit: Fit, crop_fraction: float
) -> tuple[Matrix, Matrix]:
    """Matrices ``[h, H]`` and ``[w, W]`` that scale a frame to the network's size as the host does for this `fit`.

    Raises `GraphError` for "letterbox" and "exact", which are not plain scaling. Raises it as well for a frame that
    would shrink to less than half in one direction and grow in the other.
    """
    if fit == "stretch":
        scaled_wh, corner_xy = network_wh, (0, 0)
    elif fit == "center-crop":
        ratio = max(network_wh[0] / frame_wh[0], network_wh[1] / frame_wh[1]) / crop_fraction
        scaled_w = max(network_wh[0], round(frame_wh[0] * ratio))
        scaled_h = max(network_wh[1], round(frame_wh[1] * ratio))
        scaled_wh = (scaled_w, scaled_h)
        corner_xy = ((scaled_w - network_wh[0]) // 2, (scaled_h - network_wh[1]) // 2)
    else:
        raise GraphError(f"fit {fit!r} is not plain scaling; expected 'stretch' or 'center-crop'")
    area = any(s * 2 < f for s, f in zip(scaled_wh, frame_wh, strict=True))
    if area and any(s > f for s, f in zip(scaled_wh, frame_wh, strict=True)):
        raise GraphError(
            f"frames of {frame_wh[0]}x{frame_wh[1]} would be shrunk in one direction and enlarged in the"
            f" other, to {scaled_wh[0]}x{scaled_wh[1]}; choose another --frame, or let the host scale"
        )
    sample = area_matrix if area else bilinear_matrix
    columns, rows = (
        sample(frame_wh[axis], scaled_wh[axis])[corner_xy[axis] : corner_xy[axis] + network_wh[axis]]
        for axis in (0, 1)
    )
    return rows, columns
