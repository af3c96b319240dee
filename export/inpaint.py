"""Inpainting of small images: a masked region, filled by a diffusion model whose sampler is inside the graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import InpaintPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.models.generators.inpainting import Inpainter


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.generators.inpainting import inpainter_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(inpainter_from_state_dict(found.tensors), found.class_names)


def untrained() -> SourceModel:
    """The narrowest network, two steps, ten classes: the steps are alike, so more of them only make a larger graph."""
    import torch

    from edgevision.models.generators.inpainting import Inpainter, inpainting_denoiser

    torch.manual_seed(0)
    return _source_model(Inpainter(inpainting_denoiser(1, 10, 16, 28), steps=2).eval(), ())


def _source_model(model: Inpainter, names: tuple[str, ...]) -> SourceModel:
    from edgevision.models.generators.inpainting import ANY

    denoiser = model.denoiser
    parameters = sum(tensor.numel() for tensor in model.parameters())
    variant = f"inpainting U-Net, {parameters:,} parameters, {model.steps} steps"
    classes = names or tuple(str(label) for label in range(denoiser.classes))
    channels, *size = denoiser.noise_shape
    return SourceModel(
        model, variant, (*classes, ANY), noise_shape=(channels, *size), image_size_wh=(size[1], size[0])
    )


RECIPE = Recipe(
    name="inpaint",
    task="generate",
    summary="fills masked regions of small images by diffusion, trained on your images",
    size_wh=(28, 28),
    stride=4,
    pixels=PixelFormat("rgb"),
    fit="exact",
    load=load,
    untrained=untrained,
    training=InpaintPlan(),
)
