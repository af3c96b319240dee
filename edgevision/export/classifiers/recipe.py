"""The recipe of a family of classifiers, without importing torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.classifiers.family import Family


def classifier_recipe(name: str, summary: str, family: Callable[[], Family], *, stride: int = 1) -> Recipe:
    """A recipe for state dicts with the names of torchvision or timm.

    `family` imports the network. The input is that of most ImageNet-1k weights: 224 px, cropped from 256 px, with
    ImageNet's mean and deviation. Each checkpoint sets its own.
    """

    def load(checkpoint: Path) -> SourceModel:
        from edgevision.checkpoint.reading import read_checkpoint
        from edgevision.export.classifiers.source import recognised_source

        return recognised_source(family(), read_checkpoint(checkpoint))

    def untrained() -> SourceModel:
        from edgevision.export.classifiers.source import random_source

        return random_source(family())

    def recognises(checkpoint: Checkpoint) -> bool:
        return checkpoint.module is None and family().library(checkpoint.tensors) is not None

    return Recipe(
        name=name,
        task="classify",
        summary=summary,
        size_wh=(224, 224),
        stride=stride,
        pixels=PixelFormat(order="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        fit="center-crop",
        crop_fraction=224 / 256,
        load=load,
        untrained=untrained,
        recognises=recognises,
    )
