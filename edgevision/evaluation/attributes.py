"""Attributes of a digit measured from an image: colours, ink, stroke width and slant.

Nothing here depends on how images are made: widths come from a skeleton, and colours from CIELAB distances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.datasets.captions import COLOURS, SLANTS, THICKNESSES, Attributes, Colour, Slant, Thickness

WIDTH_LIMITS_PX = (1.6, 2.75)
"""Stroke widths between thin, medium and thick, for an image of 28 pixels."""
ANGLE_LIMITS_DEG = (-11.0, 11.0)
"""Slants between left, upright and right."""
SIDE = 28
"""Side of the image that widths refer to, and of `Measured.ink`."""

_FINE = 4
_RING = 14
"""The paper is the median of a ring whose width is this part of the image's side."""
_MOSTLY_INK = 0.8
"""Share of the largest distance from the paper's colour from which a pixel counts as pure ink."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What an image shows."""

    width_px: float
    """Area of the ink over the length of its skeleton, for an image of 28 pixels; 0 without ink."""
    angle_deg: float
    """Slant by second moments, positive to the right."""
    ink_colour: Colour
    paper_colour: Colour
    ink: npt.NDArray[np.uint8]
    """Share of ink, uint8 ``[28,28]``, for a classifier of white digits on black."""

    @property
    def thickness(self) -> Thickness:
        """Name of the stroke width."""
        return THICKNESSES[sum(self.width_px >= limit for limit in WIDTH_LIMITS_PX)]

    @property
    def slant(self) -> Slant:
        """Name of the slant."""
        return SLANTS[sum(self.angle_deg >= limit for limit in ANGLE_LIMITS_DEG)]

    def attributes(self, digit: int) -> Attributes:
        """All attributes of the digit that a classifier found."""
        return Attributes(digit, self.thickness, self.slant, self.ink_colour, self.paper_colour)


def agreement(found: Sequence[Attributes], asked: Sequence[Attributes]) -> dict[str, float]:
    """Shares in percent of images whose attribute is the one that was asked for, by the attribute's name."""
    return {
        field.name: 100
        * float(
            np.mean(
                [
                    getattr(one, field.name) == getattr(other, field.name)
                    for one, other in zip(found, asked, strict=True)
                ]
            )
        )
        for field in fields(Attributes)
    }


def measured(image: npt.NDArray[np.uint8]) -> Measured:
    """Measure an image uint8 ``[S,S,3]`` RGB of any side."""
    paper, ink = _colours(image)
    axis = ink - paper
    share = ((image.astype(np.float64) - paper) @ axis / max(float(axis @ axis), 1e-9)).clip(0, 1)
    grey = np.asarray((share * 255).round(), np.uint8)
    small = np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    return Measured(_width(grey), _angle(grey), _named(ink), _named(paper), small)


def _colours(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """RGB of paper and ink."""
    ring = max(1, image.shape[0] // _RING)
    edge = np.ones(image.shape[:2], np.bool_)
    edge[ring:-ring, ring:-ring] = False
    paper = np.median(image[edge], axis=0).astype(np.float64)
    distance = np.linalg.norm(image - paper, axis=2)
    inked = distance >= _MOSTLY_INK * np.percentile(distance, 99)
    return paper, np.median(image[inked], axis=0).astype(np.float64)


def _named(colour: npt.NDArray[np.float64]) -> Colour:
    """The name of the nearest colour in CIELAB."""
    names = tuple(COLOURS)
    values = np.array([colour, *(COLOURS[name] for name in names)], np.float32)[None] / 255
    lab = np.asarray(cv2.cvtColor(values, cv2.COLOR_RGB2LAB))[0]
    return names[int(np.linalg.norm(lab[1:] - lab[0], axis=1).argmin())]


def _width(ink: npt.NDArray[np.uint8]) -> float:
    from skimage.morphology import skeletonize  # loads SciPy

    side = SIDE * _FINE
    fine = cv2.resize(ink, (side, side), interpolation=cv2.INTER_CUBIC) > 127
    line = skeletonize(fine)  # type: ignore[no-untyped-call]  # the library has no annotations
    diagonal = (line[1:, 1:] & line[:-1, :-1]).sum() + (line[1:, :-1] & line[:-1, 1:]).sum()
    straight = (line[1:] & line[:-1]).sum() + (line[:, 1:] & line[:, :-1]).sum()
    length = float(straight) + math.sqrt(2) * float(diagonal)
    return float(fine.sum()) / length / _FINE if length else 0.0


def _angle(ink: npt.NDArray[np.uint8]) -> float:
    rows, columns = np.nonzero(ink > 127)
    if len(rows) == 0:
        return 0.0
    rows, columns = rows - rows.mean(), columns - columns.mean()
    return -math.degrees(math.atan2(float((rows * columns).mean()), max(float((rows**2).mean()), 1e-9)))
