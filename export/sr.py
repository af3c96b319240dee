"""Super-resolution by factors of 2, 3 and 4, trained on your images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import UpscalerPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.sr import Upscaler


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.sr import upscaler_from_state_dict

    return _source_model(upscaler_from_state_dict(read_checkpoint(checkpoint).tensors))


def untrained() -> SourceModel:
    """Factor 2."""
    import torch

    from edgevision.models.sr import Upscaler

    torch.manual_seed(0)
    return _source_model(Upscaler())


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names."""
    from edgevision.models.weights import holds

    tensors = checkpoint.tensors
    names = ("first.weight", "body.0.weight", "last.weight")
    return (
        checkpoint.module is None
        and holds(tensors, *names)
        and not holds(tensors, "first.weight", "down.weight")
    )


def _source_model(model: Upscaler) -> SourceModel:
    parameters = sum(tensor.numel() for tensor in model.parameters())
    return SourceModel(model, f"Upscaler x{model.factor}, {parameters:,} parameters", ())


RECIPE = Recipe(
    name="sr",
    task="translate",
    summary="super-resolution by 2, 3 or 4, trained on your images",
    size_wh=(640, 360),
    stride=1,
    pixels=PixelFormat("rgb"),
    fit="exact",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=UpscalerPlan(),
)
