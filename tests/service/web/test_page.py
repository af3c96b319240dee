"""The page's own files."""

from __future__ import annotations

import re
from importlib import resources

import pytest

CSS = (resources.files("edgevision.service.web") / "page" / "page.css").read_text()
READABLE = 4.5
"""WCAG 2.2, success criterion 1.4.3: least contrast of text."""
SEEN = 3.0
"""1.4.11: of what tells something and is no text."""


def colours(scheme: str) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", CSS, flags=re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#\w{6});", blocks[0]))
    if scheme == "dark":
        found |= dict(re.findall(r"--([\w-]+): (#\w{6});", blocks[1]))
    return found


def contrast(one: str, other: str) -> float:
    """By relative luminance, as WCAG defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_counted_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        ("text", "ground", READABLE),
        ("text", "card", READABLE),
        ("soft", "ground", READABLE),
        ("soft", "card", READABLE),
        ("text", "wait-ground", READABLE),
        ("text", "bad-ground", READABLE),
        ("accent", "ground", READABLE),
        ("accent-text", "accent", READABLE),
        ("accent", "card", SEEN),
        *[(stage, "card", SEEN) for stage in ("prepare", "inference", "output", "good", "wait", "bad")],
    ],
)
def test_colours_have_enough_contrast(scheme: str, front: str, back: str, least: float) -> None:
    known = colours(scheme)
    assert contrast(known[front], known[back]) >= least


def test_motion_can_be_declined() -> None:
    assert "prefers-reduced-motion: reduce" in CSS
