"""Vision Transformer (arXiv 2010.11929), with the parameter names of torchvision or timm.

Width, layers, patch and image size are read from the checkpoint. torchvision's weights expect ImageNet's mean and
deviation, most of timm's a mean and deviation of 0.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgevision.export.classifiers.recipe import classifier_recipe

if TYPE_CHECKING:
    from edgevision.models.classifiers.family import Family


def family() -> Family:
    """The network's architecture and names; imports torch."""
    from edgevision.models.classifiers.vit import FAMILY

    return FAMILY


RECIPE = classifier_recipe("vit", "Vision Transformers, state dicts of torchvision or timm", family)
