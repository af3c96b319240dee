"""Converts run-length codes of masks to outlines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.datasets.boxes import Outline
from edgevision.errors import UsageError


def outline_from_rle(code: Mapping[str, object]) -> Outline:
    """The polygons around a mask, as fractions of its sides; holes are filled.

    `code` is COCO's: ``size`` [height, width] and ``counts``, numbers or its compressed text. Raises `UsageError`.
    """
    mask = mask_from_rle(code)
    height, width = mask.shape
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found: list[npt.NDArray[np.float32]] = []
    for points in outlines:
        if len(points) < 3:
            continue
        # Contours run through the centres of pixels.
        centres = np.asarray(points, np.float32).reshape(-1, 2) + np.float32(0.5)
        found.append(np.asarray(centres / np.array([width, height], np.float32), np.float32))
    return tuple(found)


def problem_of_rle(code: Mapping[str, object]) -> str | None:
    """The problem of a run-length code; None if it can be decoded."""
    size, counts = code.get("size"), code.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(v, int) and v > 0 for v in size):
        return f"run-length code with size {size!r}; expected [height, width]"
    if isinstance(counts, str):
        return None
    if not isinstance(counts, list) or not all(isinstance(v, int) and v >= 0 for v in counts):
        return "run-length code whose counts are neither numbers nor COCO's text"
    if sum(counts) != size[0] * size[1]:
        return (
            f"run-length code of {sum(counts)} pixels; its size {size[0]}x{size[1]} has {size[0] * size[1]}"
        )
    return None


def mask_from_rle(code: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """uint8 ``[H,W]`` of 0 and 1; runs go down the columns, zeros first. Raises `UsageError`."""
    problem = problem_of_rle(code)
    if problem is not None:
        raise UsageError(problem)
    (height, width), counts = code["size"], code["counts"]
    if isinstance(counts, str):
        from pycocotools import mask as codec

        decoded = codec.decode({"size": [height, width], "counts": counts.encode()})
        return np.ascontiguousarray(decoded, np.uint8)
    values = np.zeros(len(counts), np.uint8)
    values[1::2] = 1
    return np.repeat(values, counts).reshape(width, height).T.copy()
