"""Decoded training images, held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.errors import SourceError

Picture = npt.NDArray[np.uint8]
"""uint8 ``[H,W,3]``, BGR."""


def load_pictures(files: Sequence[Path], longest_side: int) -> tuple[Picture, ...]:
    """Decode every image once, its longest side brought down to at most `longest_side`; raises `SourceError`."""
    with ThreadPoolExecutor() as pool:
        return tuple(pool.map(lambda file: load_picture(file, longest_side), files))


def load_picture(file: Path, longest_side: int) -> Picture:
    """One image as `load_pictures` keeps it."""
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise SourceError(f"{file} cannot be read as an image")
    return shrunk(np.asarray(image, np.uint8), longest_side)


def shrunk(image: Picture, longest_side: int) -> Picture:
    """The picture, averaged down if its longest side is longer."""
    height, width = image.shape[:2]
    ratio = longest_side / max(height, width)
    if ratio >= 1:
        return image
    size_wh = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
