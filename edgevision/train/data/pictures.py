"""Decoded training images in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.sources.image_files import read_image

Picture = npt.NDArray[np.uint8]
"""uint8 ``[H,W,3]``, BGR."""


_GREY = 96


def load_picture(file: Path, longest_side: int) -> Picture:
    """Decode an image and reduce its longest side to at most `longest_side`; raises `SourceError`."""
    return shrunk(read_image(file), longest_side)


def shrunk(image: Picture, longest_side: int) -> Picture:
    """The image, averaged down if its longest side is longer."""
    height, width = image.shape[:2]
    ratio = longest_side / max(height, width)
    if ratio >= 1:
        return image
    size_wh = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def tiled(rows: Sequence[Sequence[Picture | None]], gap: int = 2) -> Picture:
    """Images of one size in rows as one image, with grey gaps; None leaves a place grey."""
    height, width = next(image for row in rows for image in row if image is not None).shape[:2]
    columns = max(len(row) for row in rows)
    drawn = np.full((len(rows) * (height + gap) + gap, columns * (width + gap) + gap, 3), _GREY, np.uint8)
    for down, row in enumerate(rows):
        for across, image in enumerate(row):
            if image is not None:
                top, left = gap + down * (height + gap), gap + across * (width + gap)
                drawn[top : top + height, left : left + width] = image
    return drawn
