"""A small convolutional classifier for small pictures: under a million parameters, 32 px, the first model to try."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import ClassifierPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
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


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names."""
    from edgevision.models.weights import holds

    return checkpoint.module is None and holds(
        checkpoint.tensors, "features.0.conv.weight", "classifier.weight"
    )


def _source_model(model: Cnn, names: tuple[str, ...] = ()) -> SourceModel:
    from edgevision.export.sources import source_with_names

    return source_with_names(model, f"CNN, {model.class_count} classes", model.class_count, names)


RECIPE = Recipe(
    name="cnn",
    task="classify",
    summary="a small CNN classifier for pictures of 32 px",
    size_wh=(32, 32),
    stride=8,
    pixels=PixelFormat(order="rgb", scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    fit="stretch",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=ClassifierPlan(model="cnn", size=32),
)
