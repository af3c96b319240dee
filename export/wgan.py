"""Class-conditional Wasserstein GAN with gradient penalty, of small images."""

from __future__ import annotations

from edgevision.models.generators.gan_recipe import gan_recipe
from edgevision.models.plan import GanPlan

RECIPE = gan_recipe(
    "wgan",
    "WGAN",
    "class-conditional Wasserstein GAN of small images, trained on your images",
    GanPlan(model="wgan", critic_steps=3, penalty=10.0),
)
