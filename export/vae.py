"""A variational autoencoder of small images, whose decoder generates images of a class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import VaePlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.generators.vae import Vae


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.generators.vae import vae_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(vae_from_state_dict(found.tensors), found.class_names)


def untrained() -> SourceModel:
    """The default size, ten classes."""
    import torch

    from edgevision.models.generators.vae import Vae

    torch.manual_seed(0)
    return _source_model(Vae().eval(), ())


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names."""
    from edgevision.models.weights import holds

    return checkpoint.module is None and holds(
        checkpoint.tensors, "encoder.first.weight", "decoder.start.weight", "decoder.label.weight"
    )


def _source_model(model: Vae, names: tuple[str, ...]) -> SourceModel:
    from edgevision.models.generators.vae import MeanEncoder

    parameters = sum(tensor.numel() for tensor in model.parameters())
    classes = names or tuple(str(label) for label in range(model.decoder.classes))
    return SourceModel(
        model,
        f"VAE, {parameters:,} parameters",
        classes,
        noise_shape=(model.decoder.noise, 1, 1),
        encoder=MeanEncoder(model),
        decoder=model.decoder,
    )


RECIPE = Recipe(
    name="vae",
    task="generate",
    summary="variational autoencoder of small images, trained on your images",
    size_wh=(28, 28),
    stride=4,
    pixels=PixelFormat("rgb"),
    fit="exact",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=VaePlan(),
)
