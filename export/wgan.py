"""Class-conditional Wasserstein GAN with gradient penalty, of small images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import GanPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.models.dcgan import ImageGenerator


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.dcgan import generator_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(generator_from_state_dict(found.tensors), found.class_names)


def untrained() -> SourceModel:
    """The default size, ten classes."""
    import torch

    from edgevision.models.dcgan import ImageGenerator

    torch.manual_seed(0)
    return _source_model(ImageGenerator().eval(), ())


def _source_model(model: ImageGenerator, names: tuple[str, ...]) -> SourceModel:
    parameters = sum(tensor.numel() for tensor in model.parameters())
    classes = names or tuple(str(label) for label in range(model.classes))
    return SourceModel(
        model, f"WGAN generator, {parameters:,} parameters", classes, noise_shape=(model.noise, 1, 1)
    )


RECIPE = Recipe(
    name="wgan",
    task="generate",
    summary="class-conditional Wasserstein GAN of small images, trained on your images",
    size_wh=(28, 28),
    stride=4,
    pixels=PixelFormat("rgb"),
    fit="exact",
    load=load,
    untrained=untrained,
    training=GanPlan(model="wgan", critic_steps=3, penalty=10.0),
)
