"""Sheets of samples: images in columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgevision.train.data.pictures import Picture

_GAP = 2
_GREY = 96


def columns_of(columns: Sequence[npt.NDArray[np.uint8]]) -> Picture:
    """Stacks of images uint8 ``[N,H,W,3]`` side by side as one image, with grey gaps; short columns end earlier."""
    height, width = columns[0].shape[1:3]
    rows = max(len(column) for column in columns)
    drawn = np.full((rows * (height + _GAP) + _GAP, len(columns) * (width + _GAP) + _GAP, 3), _GREY, np.uint8)
    for across, column in enumerate(columns):
        for down, image in enumerate(column):
            top, left = _GAP + down * (height + _GAP), _GAP + across * (width + _GAP)
            drawn[top : top + height, left : left + width] = image
    return drawn
