"""SRVGGNetCompact: super-resolution with the weights of Real-ESRGAN's small networks, such as realesr-general-x4v3."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.translators.srvgg import SRVGGNetCompact


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe.

    A PReLU has weights. For files without them, `--head` names the activation: `relu` (default) or `leakyrelu`.
    """
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.translators.srvgg import Activation, has_slopes, srvgg_from_state_dict

    tensors = read_checkpoint(checkpoint).tensors
    if has_slopes(tensors):
        return _source_model(srvgg_from_state_dict(tensors))
    choices: tuple[Activation, ...] = ("relu", "leakyrelu")

    def source(activation: Activation) -> SourceModel:
        model = srvgg_from_state_dict(tensors, activation)
        return _source_model(model, f", activation {activation}", heads)

    heads: dict[str, functools.partial[SourceModel]] = {
        activation: functools.partial(source, activation) for activation in choices
    }
    return source("relu")


def untrained() -> SourceModel:
    """Factor 4, as realesr-animevideov3."""
    import torch

    from edgevision.models.translators.srvgg import SRVGGNetCompact

    torch.manual_seed(0)
    return _source_model(SRVGGNetCompact().eval())


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names."""
    from edgevision.models.translators.srvgg import is_srvgg

    return checkpoint.module is None and is_srvgg(checkpoint.tensors)


def _source_model(
    model: SRVGGNetCompact,
    suffix: str = "",
    heads: dict[str, functools.partial[SourceModel]] | None = None,
) -> SourceModel:
    parameters = sum(tensor.numel() for tensor in model.parameters())
    variant = f"SRVGGNetCompact x{model.factor}, {parameters:,} parameters{suffix}"
    return SourceModel(model, variant, (), heads=dict(heads or {}))


RECIPE = Recipe(
    name="srvgg",
    task="translate",
    summary="super-resolution with the weights of Real-ESRGAN's small networks",
    size_wh=(320, 180),
    stride=1,
    pixels=PixelFormat("rgb"),
    fit="exact",
    load=load,
    untrained=untrained,
    recognises=recognises,
)
