"""CycleGAN: translation between two kinds of images, trained on your images without pairs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import CycleGanPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.translators.cyclegan import TranslatorPair


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the two generators; `--head` selects the direction."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.translators.cyclegan import translators_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(translators_from_state_dict(found.tensors), found.class_names)


def untrained() -> SourceModel:
    """The default size."""
    import torch

    from edgevision.models.translators.cyclegan import TranslatorPair

    torch.manual_seed(0)
    return _source_model(TranslatorPair().eval(), ())


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the networks' names."""
    from edgevision.models.weights import holds

    return checkpoint.module is None and holds(
        checkpoint.tensors, "forth.first.weight", "forth.last.weight", "back.last.weight"
    )


def _source_model(pair: TranslatorPair, names: tuple[str, ...]) -> SourceModel:
    first, second = names if len(names) == 2 else ("first", "second")
    directions = {f"{first}-to-{second}": pair.forth, f"{second}-to-{first}": pair.back}
    parameters = sum(tensor.numel() for tensor in pair.forth.parameters())

    def source(direction: str) -> SourceModel:
        return SourceModel(
            directions[direction],
            f"CycleGAN generator {direction}, {parameters:,} parameters",
            (),
            heads={name: functools.partial(source, name) for name in directions},
        )

    return source(next(iter(directions)))


RECIPE = Recipe(
    name="cyclegan",
    task="translate",
    summary="unpaired translation between two kinds of images, trained on your images",
    size_wh=(64, 64),
    stride=4,
    pixels=PixelFormat("rgb", scale=1 / 127.5, mean=(1.0, 1.0, 1.0)),
    fit="stretch",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=CycleGanPlan(),
)
