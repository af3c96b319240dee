"""Decoded training images in memory."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.sources.image_files import read_image

Picture = npt.NDArray[np.uint8]
"""uint8 ``[H,W,3]``, BGR."""


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
