"""Rendered digits show their attributes, by a measurement that shares no code with the rendering."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple

import cv2
import numpy as np
import pytest

from edgevision.datasets.captions import (
    COLOURS,
    SLANTS,
    THICKNESSES,
    Attributes,
    caption_of,
    random_attributes,
    random_caption,
)
from edgevision.datasets.rendering import ANGLES_DEG, WIDTHS_PX, Grey, coloured, reduced, render, shaped
from edgevision.evaluation.attributes import measured


def drawn_seven(width: int = 3) -> Grey:
    """A seven in white on black, 28 pixels."""
    image = np.zeros((28, 28), np.uint8)
    cv2.line(image, (8, 7), (19, 7), 255, width)
    cv2.line(image, (19, 7), (13, 22), 255, width)
    return image


@pytest.mark.parametrize("thickness", THICKNESSES)
@pytest.mark.parametrize("slant", SLANTS)
@pytest.mark.parametrize("width", [2, 3])
def test_shape_is_measured_as_asked(thickness: str, slant: str, width: int) -> None:
    widths = {name: limits for name, limits in WIDTHS_PX.items() if name == thickness}
    angles = {name: limits for name, limits in ANGLES_DEG.items() if name == slant}
    middle = [sum(next(iter(found.values()))) / 2 for found in (widths, angles)]
    shape = shaped(drawn_seven(width), *middle)
    for image in (shape, reduced(shape)):
        found = measured(coloured(image, COLOURS["red"], COLOURS["white"]))
        assert (found.thickness, found.slant) == (thickness, slant)
        assert found.angle_deg == pytest.approx(middle[1], abs=6)


@pytest.mark.parametrize("ink", COLOURS)
@pytest.mark.parametrize("paper", COLOURS)
def test_colours_are_measured_as_asked(ink: str, paper: str) -> None:
    if ink == paper:
        return
    colours = {str(name): value for name, value in COLOURS.items()}
    shape = shaped(drawn_seven(), 2.8, 0)
    found = measured(coloured(reduced(shape), colours[ink], colours[paper]))
    assert (found.ink_colour, found.paper_colour) == (ink, paper)
    assert np.abs(found.ink.astype(int) - reduced(shape)).max() <= 2


def test_render_is_reproducible_and_sized() -> None:
    one, again, other = (render(drawn_seven(), 7, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one.small.shape == (28, 28, 3)
    assert one.large.shape == (56, 56, 3)
    assert one.attributes.digit == 7
    assert (one.large == again.large).all()
    assert one.caption == again.caption
    assert one.attributes == again.attributes
    assert not (one.large == other.large).all()


def test_digit_without_ink_is_an_error() -> None:
    with pytest.raises(ValueError, match="no ink"):
        shaped(np.zeros((28, 28), np.uint8), 2, 0)


def test_image_of_one_colour_has_no_ink() -> None:
    found = measured(np.full((28, 28, 3), 240, np.uint8))
    assert (found.width_px, found.angle_deg, found.paper_colour) == (0, 0, "white")
    assert not found.ink.any()


def test_caption_states_every_attribute() -> None:
    attributes = Attributes(7, "thick", "left", "red", "white")
    assert caption_of(attributes) == "a thick handwritten seven, slanted left, red on white"


def test_attributes_are_evenly_spread() -> None:
    rng = np.random.default_rng(0)
    drawn = [astuple(random_attributes(3, rng)) for _ in range(1800)]
    assert {values[0] for values in drawn} == {3}
    for place, count in ((1, 3), (2, 3), (3, 6), (4, 6)):
        found = Counter(values[place] for values in drawn)
        assert len(found) == count
        assert max(found.values()) < 1.3 * 1800 / count
    assert all(values[3] != values[4] for values in drawn)


def test_captions_state_nothing_false() -> None:
    rng = np.random.default_rng(0)
    attributes = Attributes(7, "thick", "left", "red", "white")
    captions = {random_caption(attributes, rng) for _ in range(400)}
    assert len(captions) > 40
    words = {word for caption in captions for word in caption.replace(",", "").split()}
    assert not words & {"thin", "medium", "right", "upright", "blue", "black", "six", "6"}
    assert {"bold", "leaning", "seven", "7", "paper", "background"} <= words
    assert any("red" not in caption for caption in captions)
    assert all("  " not in caption and not caption.endswith(("on", "a")) for caption in captions)
