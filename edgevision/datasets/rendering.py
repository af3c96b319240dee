"""Rendering of grey digits with attributes: thickness by morphology, slant by shear, and colours of ink and paper."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.datasets.captions import (
    COLOURS,
    RGB,
    Attributes,
    Colour,
    Slant,
    Thickness,
    random_attributes,
    random_caption,
)

SMALL, LARGE = 28, 56
"""Sides of the rendered images, in pixels."""
WIDTHS_PX: Mapping[Thickness, tuple[float, float]] = {
    "thin": (1.3, 1.7),
    "medium": (2.5, 2.9),
    "thick": (4.2, 4.6),
}
"""Range of the mean stroke width, in pixels of the small image."""
ANGLES_DEG: Mapping[Slant, tuple[float, float]] = {"left": (-26, -18), "upright": (-4, 4), "right": (18, 26)}
"""Range of the slant: the angle between the axis of the digit and the vertical, positive to the right."""

_FINE = 4
"""Pixels of the working resolution for each pixel of the small image."""
_INK = 127
_COLOUR_NOISE = 12
"""Largest random change of each channel of a colour, in levels."""

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class RenderedDigit:
    """One digit in two sizes: `small` uint8 ``[28,28,3]`` and `large` uint8 ``[56,56,3]``, both RGB."""

    small: npt.NDArray[np.uint8]
    large: npt.NDArray[np.uint8]
    attributes: Attributes
    caption: str


def render(digit: Grey, label: int, rng: np.random.Generator) -> RenderedDigit:
    """A digit uint8 ``[28,28]``, ink 255 on 0, with random attributes and one of their captions."""
    attributes = random_attributes(label, rng)
    shape = random_shape(digit, attributes.thickness, attributes.slant, rng)
    ink, paper = random_colour(attributes.ink, rng), random_colour(attributes.paper, rng)
    small, large = (coloured(one, ink, paper) for one in (reduced(shape), shape))
    return RenderedDigit(small, large, attributes, random_caption(attributes, rng))


def random_shape(digit: Grey, thickness: Thickness, slant: Slant, rng: np.random.Generator) -> Grey:
    """Ink uint8 ``[56,56]`` of a digit with a random stroke width and angle of these names."""
    return shaped(digit, rng.uniform(*WIDTHS_PX[thickness]), rng.uniform(*ANGLES_DEG[slant]))


def random_colour(name: Colour, rng: np.random.Generator) -> RGB:
    """A colour near the one of that name."""
    levels = np.array(COLOURS[name]) + rng.integers(-_COLOUR_NOISE, _COLOUR_NOISE + 1, 3)
    red, green, blue = (int(level) for level in levels.clip(0, 255))
    return red, green, blue


def shaped(digit: Grey, width_px: float, angle_deg: float) -> Grey:
    """Ink uint8 ``[56,56]`` of a grey digit ``[28,28]`` with this mean stroke width and slant.

    The digit's own slant, from its second moments, is removed first. Raises `ValueError` for a digit without ink.
    """
    fine = _thickened(_sheared(digit, angle_deg), width_px * _FINE)
    return np.asarray(cv2.resize(fine, (LARGE, LARGE), interpolation=cv2.INTER_AREA), np.uint8)


def reduced(shape: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """An image of the large size in the small one."""
    return np.asarray(cv2.resize(shape, (SMALL, SMALL), interpolation=cv2.INTER_AREA), np.uint8)


def coloured(ink_share: Grey, ink: RGB, paper: RGB) -> npt.NDArray[np.uint8]:
    """RGB uint8 ``[...,3]`` of ink shares uint8 ``[...]``: 255 is ink, 0 is paper."""
    share = ink_share[..., None].astype(np.float32) / 255
    mixed = np.array(paper, np.float32) * (1 - share) + np.array(ink, np.float32) * share
    return np.asarray(mixed.round(), np.uint8)


def _sheared(digit: Grey, angle_deg: float) -> Grey:
    """The digit at the working resolution, with this slant and its centre of mass in the middle."""
    moments = cv2.moments(digit)
    if moments["m00"] == 0:
        raise ValueError("the digit has no ink")
    own = moments["mu11"] / max(moments["mu02"], 1e-6)
    shear = -math.tan(math.radians(angle_deg)) - own  # the y axis points down
    x, y = (moments[name] / moments["m00"] * _FINE for name in ("m10", "m01"))
    middle = SMALL * _FINE / 2 - 0.5
    side = SMALL * _FINE
    large = cv2.resize(digit, (side, side), interpolation=cv2.INTER_CUBIC)
    matrix = np.array([[1, shear, middle - x - shear * y], [0, 1, middle - y]], np.float64)
    return np.asarray(cv2.warpAffine(large, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)


def _thickened(digit: Grey, width: float) -> Grey:
    """The digit dilated or eroded to this mean stroke width, with edges of one pixel.

    The mean distance of a stroke's pixels from its edge is a quarter of its width. Erosion keeps the pixels near the
    middle of a stroke, which is where the distance from the edge is largest, so that strokes do not break.
    """
    ink = (digit > _INK).astype(np.uint8)
    inside = np.asarray(cv2.distanceTransform(ink, cv2.DIST_L2, 5), np.float32)
    growth = (width - 4 * float(inside[ink > 0].mean() if ink.any() else 0)) / 2
    if growth >= 0:
        outside = np.asarray(cv2.distanceTransform(1 - ink, cv2.DIST_L2, 5), np.float32)
        share = growth - outside + 1
    else:
        side = 2 * math.ceil(width / 2) + 5
        around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        half = np.asarray(cv2.dilate(inside, around), np.float32)
        share = inside - np.maximum(half - width / 2, 0)
    return np.asarray((share.clip(0, 1) * 255).round(), np.uint8)
