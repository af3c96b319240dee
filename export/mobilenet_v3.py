"""MobileNetV3 small and large (arXiv 1905.02244), with the parameter names of torchvision or timm.

Both libraries' weights were trained on ImageNet-1k at 224 px, cropped from 256 px, with ImageNet's mean and deviation.
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
    from edgevision.models.classifiers.mobilenet_v3 import FAMILY

    return recognised_source(FAMILY, read_checkpoint(checkpoint))


def untrained() -> SourceModel:
    """MobileNetV3-small, 1,000 classes."""
    from edgevision.export.sources import random_source
    from edgevision.models.classifiers.mobilenet_v3 import FAMILY

    return random_source(FAMILY)


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the names of torchvision or timm."""
    from edgevision.models.classifiers.mobilenet_v3 import FAMILY

    return checkpoint.module is None and FAMILY.library(checkpoint.tensors) is not None


RECIPE = Recipe(
    name="mobilenet_v3",
    task="classify",
    summary="MobileNetV3 small and large classification, state dicts of torchvision or timm",
    size_wh=(224, 224),
    stride=1,
    pixels=PixelFormat(order="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    fit="center-crop",
    crop_fraction=224 / 256,
    load=load,
    untrained=untrained,
    recognises=recognises,
)
