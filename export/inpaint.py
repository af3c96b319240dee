"""Inpainting of small images: a masked region, filled by a diffusion model whose sampler is inside the graph."""

from __future__ import annotations

from edgevision.models.generators.inpaint_recipe import inpaint_recipe
from edgevision.models.plan import InpaintPlan

RECIPE = inpaint_recipe(
    "inpaint", "fills masked regions of small images by diffusion, trained on your images", InpaintPlan()
)
