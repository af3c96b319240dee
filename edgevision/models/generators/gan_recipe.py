"""The recipe of the conditional GANs: they share the generator, and differ in their training."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import GanPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.models.generators.dcgan import ImageGenerator


def gan_recipe(name: str, kind: str, summary: str, plan: GanPlan) -> Recipe:
    """A recipe; `kind` is the name of the GAN in descriptions."""
    return Recipe(
        name=name,
        task="generate",
        summary=summary,
        size_wh=(28, 28),
        stride=4,
        pixels=PixelFormat("rgb"),
        fit="exact",
        load=functools.partial(_load, kind),
        untrained=functools.partial(_untrained, kind),
        training=plan,
    )


def _load(kind: str, checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.generators.dcgan import generator_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(kind, generator_from_state_dict(found.tensors), found.class_names)


def _untrained(kind: str) -> SourceModel:
    """The default size, ten classes."""
    import torch

    from edgevision.models.generators.dcgan import ImageGenerator

    torch.manual_seed(0)
    return _source_model(kind, ImageGenerator().eval(), ())


def _source_model(kind: str, model: ImageGenerator, names: tuple[str, ...]) -> SourceModel:
    parameters = sum(tensor.numel() for tensor in model.parameters())
    classes = names or tuple(str(label) for label in range(model.classes))
    variant = f"{kind} generator, {parameters:,} parameters"
    return SourceModel(model, variant, classes, noise_shape=(model.noise, 1, 1))
