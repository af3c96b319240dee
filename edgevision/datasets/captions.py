"""Attributes of rendered digits, and captions that state them in several wordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Thickness = Literal["thin", "medium", "thick"]
Slant = Literal["left", "upright", "right"]
Colour = Literal["black", "white", "red", "green", "blue", "yellow"]
RGB = tuple[int, int, int]

THICKNESSES: tuple[Thickness, ...] = get_args(Thickness)
SLANTS: tuple[Slant, ...] = get_args(Slant)
COLOURS: Mapping[Colour, RGB] = {
    "black": (20, 20, 20),
    "white": (240, 240, 240),
    "red": (210, 40, 40),
    "green": (40, 150, 60),
    "blue": (40, 70, 200),
    "yellow": (240, 205, 40),
}
"""RGB levels of each name."""
DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_THICKNESS_WORDS: Mapping[Thickness, tuple[str, ...]] = {
    "thin": ("thin", "fine"),
    "medium": ("medium",),
    "thick": ("thick", "bold"),
}
_SLANT_PHRASES: Mapping[Slant, tuple[str, ...]] = {
    "left": ("slanted left", "leaning left"),
    "upright": ("upright", "straight"),
    "right": ("slanted right", "leaning right"),
}
_OMITTED = 0.1
"""Share of captions without the thickness, without the slant, and without the colours."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """Everything that a caption can state of a digit."""

    digit: int
    thickness: Thickness
    slant: Slant
    ink: Colour
    paper: Colour


def random_attributes(digit: int, rng: np.random.Generator) -> Attributes:
    """Attributes of equal probability; ink and paper differ."""
    ink, paper = rng.choice(len(COLOURS), 2, replace=False)
    names = tuple(COLOURS)
    return Attributes(
        digit,
        THICKNESSES[int(rng.integers(len(THICKNESSES)))],
        SLANTS[int(rng.integers(len(SLANTS)))],
        names[int(ink)],
        names[int(paper)],
    )


def caption_of(attributes: Attributes) -> str:
    """The caption that states every attribute, such as "a thick handwritten seven, slanted left, red on white"."""
    word, slant = DIGIT_WORDS[attributes.digit], _SLANT_PHRASES[attributes.slant][0]
    return f"a {attributes.thickness} handwritten {word}, {slant}, {attributes.ink} on {attributes.paper}"


def random_caption(attributes: Attributes, rng: np.random.Generator) -> str:
    """One of several wordings; each attribute but the digit is left out of some of them."""

    def one(words: tuple[str, ...]) -> str:
        return words[int(rng.integers(len(words)))]

    stated = rng.random(3) >= _OMITTED
    thickness = one(_THICKNESS_WORDS[attributes.thickness]) if stated[0] else ""
    slant = one(_SLANT_PHRASES[attributes.slant]) if stated[1] else ""
    ink, paper = (attributes.ink, attributes.paper) if stated[2] else ("", "")
    digit = one((DIGIT_WORDS[attributes.digit], str(attributes.digit)))
    wording = int(rng.integers(4))
    parts: tuple[str, ...]
    if wording == 0:
        parts = (f"a {thickness} handwritten {digit}", slant, f"{ink} on {paper}")
    elif wording == 1:
        parts = (f"{thickness} {ink} {digit}", slant, f"on {paper} paper")
    elif wording == 2:
        parts = (f"the digit {digit} in {thickness} {ink} ink", slant, f"on {paper}")
    else:
        parts = (f"{digit}", f"{ink} on a {paper} background", thickness, slant)
    if not paper:
        parts = tuple(part for part in parts if f"on {paper}" not in part and f"on a {paper}" not in part)
    return ", ".join(" ".join(part.split()) for part in parts if part.strip())
