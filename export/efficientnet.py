"""EfficientNet-B0 to B4 (arXiv 1905.11946), with the parameter names of torchvision or timm.

The input size depends on the member and on the library, 224 to 380 px; mean and deviation are ImageNet's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's names and shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.export.sources import recognised_source
    from edgevision.models.classifiers.efficientnet import FAMILY

    return recognised_source(FAMILY, read_checkpoint(checkpoint))


def untrained() -> SourceModel:
    """EfficientNet-B0, 1,000 classes."""
    from edgevision.export.sources import random_source
    from edgevision.models.classifiers.efficientnet import FAMILY

    return random_source(FAMILY)


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the names of torchvision or timm."""
    from edgevision.models.classifiers.efficientnet import FAMILY

    return checkpoint.module is None and FAMILY.library(checkpoint.tensors) is not None


RECIPE = Recipe(
    name="efficientnet",
    task="classify",
    summary="EfficientNet-B0 to B4 classification, state dicts of torchvision or timm",
    size_wh=(224, 224),
    stride=1,
    pixels=PixelFormat(order="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    fit="center-crop",
    crop_fraction=224 / 256,
    load=load,
    untrained=untrained,
    recognises=recognises,
)
