"""Style transfer in one of several styles, trained on your photographs and styles."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import StylePlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.translators.style import StyleNetwork


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.translators.style import style_network_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(style_network_from_state_dict(found.tensors), found.class_names)


def untrained() -> SourceModel:
    """Four styles."""
    import torch

    from edgevision.models.translators.style import StyleNetwork

    torch.manual_seed(0)
    return _source_model(StyleNetwork().eval(), ())


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names."""
    from edgevision.models.weights import holds

    return checkpoint.module is None and holds(
        checkpoint.tensors, "styles.weight", "first.weight", "down.weight", "body.0.weight"
    )


def _source_model(model: StyleNetwork, names: tuple[str, ...]) -> SourceModel:
    parameters = sum(tensor.numel() for tensor in model.parameters())
    styles = names or tuple(f"style {number}" for number in range(model.style_count))
    variant = f"style network, {len(styles)} styles, {parameters:,} parameters"

    def source(style: int) -> SourceModel:
        heads = {name: functools.partial(source, number) for number, name in enumerate(styles)}
        return SourceModel(model, variant, styles, style=style, heads=heads)

    return source(0)


RECIPE = Recipe(
    name="style",
    task="translate",
    summary="style transfer in one of several styles, trained on your photographs and styles",
    size_wh=(640, 360),
    stride=4,
    pixels=PixelFormat("rgb"),
    fit="stretch",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=StylePlan(),
)
