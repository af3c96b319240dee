"""Class-conditional DCGAN of small images, trained by the non-saturating loss."""

from __future__ import annotations

from edgevision.models.generators.gan_recipe import gan_recipe
from edgevision.models.plan import GanPlan

RECIPE = gan_recipe(
    "dcgan", "DCGAN", "class-conditional DCGAN of small images, trained on your images", GanPlan()
)
