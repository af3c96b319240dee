"""Output of image-to-image networks: one image of three channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.errors import GraphError
from edgevision.graph.heads.head import NetworkFacts
from edgevision.graph.preprocess import PixelFormat

Array = npt.NDArray[Any]

EXPECTED = "one output [B, 3, h, w]: an image of the input's size, or a whole number of times as large"
_LARGEST_FACTOR = 16
_FARTHEST = 2.0
"""Images of networks may exceed white and black; values this many ranges away have another format."""


def recognise(facts: NetworkFacts) -> int | None:
    """The factor by which the image is larger than the input; None for other outputs."""
    first = facts.outputs[0]
    if len(facts.outputs) != 1 or len(first.shape) != 4 or first.shape[1] != 3 or "float" not in first.dtype:
        return None
    height, width = (length or 0 for length in first.shape[2:])
    factor = width // facts.size_wh[0]
    fits = (width, height) == (factor * facts.size_wh[0], factor * facts.size_wh[1])
    return factor if fits and 1 <= factor <= _LARGEST_FACTOR else None


def doubt(facts: NetworkFacts) -> str | None:
    """Why such an output is probably no image; None if nothing speaks against it."""
    if facts.outputs[0].shape[2:] == facts.size_wh[::-1]:
        return "three channels at the input's size may be classes"
    return None


def images_from_raw(raw: Array, pixels: PixelFormat, name: str) -> npt.NDArray[np.uint8]:
    """Images uint8 ``[N,h,w,3]`` BGR of raw outputs ``[N,3,h,w]`` in a pixel format.

    Raises `GraphError` for values that are far from the format's range.
    """
    mean, std = (np.array(values)[:, None, None] for values in (pixels.mean, pixels.std))
    levels = (raw.astype(np.float64) * std + mean) / pixels.scale
    low, high = np.percentile(levels, (1, 99))
    if low < -_FARTHEST * 255 or high > (1 + _FARTHEST) * 255 or high - low < 2:
        raise GraphError(
            f"{name}: the image's values are {raw.min():.3g} to {raw.max():.3g}, which does not fit the pixel format of"
            " the input, which the output is assumed to have. For values 0 to 255 use --scale 1, for -1 to 1 --mean"
            " 0.5,0.5,0.5 --std 0.5,0.5,0.5"
        )
    levels = levels[:, ::-1] if pixels.order == "rgb" else levels
    return np.asarray(levels.clip(0, 255).round().transpose(0, 2, 3, 1), np.uint8)
