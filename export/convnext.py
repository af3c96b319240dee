"""ConvNeXt of any size (arXiv 2201.03545), with the parameter names of torchvision or timm.

Both libraries' weights were trained on ImageNet-1k at 224 px, with ImageNet's mean and deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgevision.export.classifiers.recipe import classifier_recipe

if TYPE_CHECKING:
    from edgevision.models.classifiers.family import Family


def family() -> Family:
    """The network's architecture and names; imports torch."""
    from edgevision.models.classifiers.convnext import FAMILY

    return FAMILY


RECIPE = classifier_recipe(
    "convnext", "ConvNeXt classification, state dicts of torchvision or timm", family, stride=32
)
