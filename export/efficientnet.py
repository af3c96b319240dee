"""EfficientNet-B0 to B4 (arXiv 1905.11946), with the parameter names of torchvision or timm.

The input size depends on the member and on the library, 224 to 380 px; mean and deviation are ImageNet's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgevision.export.classifiers.recipe import classifier_recipe

if TYPE_CHECKING:
    from edgevision.models.classifiers.family import Family


def family() -> Family:
    """The network's architecture and names; imports torch."""
    from edgevision.models.classifiers.efficientnet import FAMILY

    return FAMILY


RECIPE = classifier_recipe(
    "efficientnet", "EfficientNet-B0 to B4 classification, state dicts of torchvision or timm", family
)
