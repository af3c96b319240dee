"""Holes in images that a model learns to fill: boxes, strokes and halves."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Hole = npt.NDArray[np.uint8]
"""uint8 ``[H,W]``: 1 where the image is unknown, else 0."""

HALVES = 4
_STROKE_POINTS = (2, 6)


def random_hole(size: int, sides: tuple[float, float], rng: np.random.Generator) -> Hole:
    """A box, strokes or a half, with the same frequency; `sides` is the range of a box's sides as shares of `size`."""
    kind = int(rng.integers(3))
    if kind == 0:
        return box_hole(size, sides, rng)
    return stroke_hole(size, rng) if kind == 1 else half_hole(size, int(rng.integers(HALVES)))


def box_hole(size: int, sides: tuple[float, float], rng: np.random.Generator) -> Hole:
    """A box of random sides and place, all of it inside."""
    width, height = (max(1, round(size * share)) for share in rng.uniform(*sides, 2))
    left, top = (int(rng.integers(size - side + 1)) for side in (width, height))
    return _box(size, left, top, width, height)


def centre_hole(size: int) -> Hole:
    """A box of half the side in the centre."""
    return _box(size, size // 4, size // 4, size // 2, size // 2)


def half_hole(size: int, which: int) -> Hole:
    """The left, the upper, the right or the lower half, by number from 0."""
    half = size // 2
    return np.rot90(_box(size, 0, 0, half, size), -which).copy()


def stroke_hole(size: int, rng: np.random.Generator) -> Hole:
    """One to three thick polylines through random points."""
    hole = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        points = rng.integers(0, size, (int(rng.integers(*_STROKE_POINTS)), 2))
        cv2.polylines(hole, [points.astype(np.int32)], False, 1, int(rng.integers(2, max(3, size // 5))))
    return hole


def _box(size: int, left: int, top: int, width: int, height: int) -> Hole:
    hole = np.zeros((size, size), np.uint8)
    hole[top : top + height, left : left + width] = 1
    return hole
