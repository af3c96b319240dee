"""The small CNN for handwritten digits of 28 px: no mirroring, little cropping, slight rotation and shear."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import ClassifierPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.models.cnn import Cnn


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.cnn import cnn_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(cnn_from_state_dict(found.tensors), found.class_names)


def untrained() -> SourceModel:
    """Ten classes."""
    import torch

    from edgevision.models.cnn import Cnn

    torch.manual_seed(0)
    return _source_model(Cnn(class_count=10))


def _source_model(model: Cnn, names: tuple[str, ...] = ()) -> SourceModel:
    from edgevision.export.sources import source_with_names

    return source_with_names(model, f"CNN for digits, {model.class_count} classes", model.class_count, names)


RECIPE = Recipe(
    name="digits",
    task="classify",
    summary="the small CNN classifier for handwritten digits of 28 px",
    size_wh=(28, 28),
    stride=4,
    pixels=PixelFormat(order="rgb", scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    fit="stretch",
    load=load,
    untrained=untrained,
    training=ClassifierPlan(
        model="cnn", size=28, smallest_crop=0.8, flip=0.0, colour=0.1, erase=0.2, turn=12.0, smoothing=0.05
    ),
)
