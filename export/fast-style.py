"""Fast style transfer (arXiv 1603.08155) with the weights of PyTorch's public example, one style for each file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.translators.fast_style import FastStyleNetwork


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.translators.fast_style import fast_style_from_state_dict

    return _source_model(fast_style_from_state_dict(read_checkpoint(checkpoint).tensors))


def untrained() -> SourceModel:
    """The published sizes."""
    import torch

    from edgevision.models.translators.fast_style import FastStyleNetwork

    torch.manual_seed(0)
    return _source_model(FastStyleNetwork().eval())


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names."""
    from edgevision.models.weights import holds

    return checkpoint.module is None and holds(
        checkpoint.tensors, "deconv3.conv2d.weight", "conv1.conv2d.weight", "res1.conv1.conv2d.weight"
    )


def _source_model(model: FastStyleNetwork) -> SourceModel:
    parameters = sum(tensor.numel() for tensor in model.parameters())
    return SourceModel(model, f"fast style network, {parameters:,} parameters", ())


RECIPE = Recipe(
    name="fast-style",
    task="translate",
    summary="style transfer with the weights of PyTorch's example fast_neural_style",
    size_wh=(640, 360),
    stride=4,
    pixels=PixelFormat("rgb", scale=1.0),
    fit="stretch",
    load=load,
    untrained=untrained,
    recognises=recognises,
)
