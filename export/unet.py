"""U-Net for semantic segmentation, of street scenes or of your own images and masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import SegmenterPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.unet import UNet


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.unet import unet_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(unet_from_state_dict(found.tensors), found.class_names)


def untrained() -> SourceModel:
    """Eleven classes."""
    import torch

    from edgevision.models.unet import UNet

    torch.manual_seed(0)
    return _source_model(UNet(class_count=11))


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names."""
    from edgevision.models.weights import holds

    return checkpoint.module is None and holds(checkpoint.tensors, "down.0.conv1.weight", "classifier.weight")


def _source_model(model: UNet, names: tuple[str, ...] = ()) -> SourceModel:
    from edgevision.export.sources import source_with_names

    return source_with_names(model, f"U-Net, {model.class_count} classes", model.class_count, names)


RECIPE = Recipe(
    name="unet",
    task="segment",
    summary="U-Net semantic segmentation, trained on your images and masks",
    size_wh=(480, 384),
    stride=32,
    pixels=PixelFormat(order="rgb", scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    fit="letterbox",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=SegmenterPlan(),
)
