"""Scaling of images by cubic convolution, widened where an image shrinks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float64]


def cubic(distance: npt.NDArray[np.floating[Any]], a: float = -0.5) -> Weights:
    """Keys' kernel (IEEE Trans. ASSP 29(6), 1981, equation 4) of distances in pixels; OpenCV's has `a` -3/4."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.asarray(np.where(x <= 1, near, np.where(x < 2, far, 0.0)), np.float64)


def shrinking_matrix(side: int, target: int) -> Weights:
    """Weights ``[target,side]`` of bicubic scaling with half-pixel centres and antialiasing.

    Where an image shrinks, the kernel is as much wider. Pixels outside of the image are not read; the rest of the
    weights is scaled to a sum of 1.
    """
    ratio = side / target
    centres = (np.arange(target) + 0.5) * ratio - 0.5
    weights = cubic((np.arange(side)[None] - centres[:, None]) / max(ratio, 1.0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def shrunk(image: npt.NDArray[np.uint8], size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """An image uint8 ``[H,W,3]`` scaled down by `shrinking_matrix` along both axes, and rounded."""
    rows = shrinking_matrix(image.shape[0], size_wh[1]).astype(np.float32)
    columns = shrinking_matrix(image.shape[1], size_wh[0]).astype(np.float32)
    lines = (rows @ image.reshape(image.shape[0], -1).astype(np.float32)).reshape(size_wh[1], -1, 3)
    result = np.einsum("xw,hwc->hxc", columns, lines, optimize=True)
    return np.asarray(result.round().clip(0, 255), np.uint8)
