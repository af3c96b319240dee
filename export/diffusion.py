"""Class-conditional diffusion of small images: flow matching or DDPM, sampled in a few steps inside the graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import DiffusionPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.generators.diffusion import Denoiser


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.generators.diffusion import denoiser_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(denoiser_from_state_dict(found.tensors), found.class_names)


def untrained() -> SourceModel:
    """The narrowest network, two steps, ten classes: the steps are alike, so more of them only make a larger graph."""
    import torch

    from edgevision.models.generators.diffusion import Denoiser

    torch.manual_seed(0)
    model = Denoiser(width=16).eval()
    model.steps.fill_(2)
    return _source_model(model, ())


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names that is not of recipe `inpaint`."""
    from edgevision.models.generators.inpainting import fills_holes
    from edgevision.models.weights import holds

    return (
        checkpoint.module is None
        and holds(checkpoint.tensors, "stem.weight", "down1.weight", "embedding.label.weight")
        and not fills_holes(checkpoint.tensors)
    )


def _source_model(model: Denoiser, names: tuple[str, ...]) -> SourceModel:
    from edgevision.models.generators.sampler import Sampler

    parameters = sum(tensor.numel() for tensor in model.parameters())
    sampler = Sampler(model)
    variant = f"{model.objective} U-Net, {parameters:,} parameters, {sampler.steps} steps"
    classes = names or tuple(str(label) for label in range(model.classes))
    return SourceModel(sampler, variant, classes, noise_shape=model.noise_shape)


RECIPE = Recipe(
    name="diffusion",
    task="generate",
    summary="class-conditional diffusion of small images, trained on your images",
    size_wh=(28, 28),
    stride=4,
    pixels=PixelFormat("rgb"),
    fit="exact",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=DiffusionPlan(),
)
