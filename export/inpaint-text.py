"""Inpainting of digits that are rendered with attributes, from an optional text."""

from __future__ import annotations

from edgevision.models.generators.inpaint_recipe import inpaint_recipe
from edgevision.models.plan import InpaintPlan

RECIPE = inpaint_recipe(
    "inpaint-text",
    "fills masked regions of rendered digits from an optional text, trained on your digits",
    InpaintPlan(captions=True),
)
