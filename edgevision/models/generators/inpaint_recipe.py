"""The recipes of inpainting: they share the network, and differ in their condition, a class or a text."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.contract.classes import ANY
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import InpaintPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.generators.inpainting import Inpainter


def inpaint_recipe(name: str, summary: str, plan: InpaintPlan) -> Recipe:
    """A recipe; `plan.captions` selects the condition of its untrained model."""
    return Recipe(
        name=name,
        task="generate",
        summary=summary,
        size_wh=(28, 28),
        stride=4,
        pixels=PixelFormat("rgb"),
        fit="exact",
        load=_load,
        untrained=functools.partial(_untrained, captions=plan.captions),
        recognises=None if plan.captions else _recognises,
        training=plan,
    )


def _recognises(checkpoint: Checkpoint) -> bool:
    """True for the weights of both recipes, which one function loads."""
    from edgevision.models.generators.inpainting import fills_holes
    from edgevision.models.weights import holds

    known = holds(checkpoint.tensors, "stem.weight", "down1.weight")
    return checkpoint.module is None and known and fills_holes(checkpoint.tensors)


def _load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.generators.inpainting import inpainter_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(inpainter_from_state_dict(found.tensors), found.class_names)


def _untrained(*, captions: bool) -> SourceModel:
    """The narrowest network, two steps, ten classes: the steps are alike, so more of them only make a larger graph."""
    import torch

    from edgevision.models.generators.inpainting import Inpainter, inpainting_denoiser

    torch.manual_seed(0)
    denoiser = inpainting_denoiser(3, None, 16, 28) if captions else inpainting_denoiser(1, 10, 16, 28)
    return _source_model(Inpainter(denoiser, steps=2).eval(), ())


def _source_model(model: Inpainter, names: tuple[str, ...]) -> SourceModel:
    from edgevision.models.generators.captioned import TextDenoiser
    from edgevision.models.generators.words import LENGTH, tokenizer_json

    denoiser = model.denoiser
    parameters = sum(tensor.numel() for tensor in model.parameters())
    variant = f"inpainting U-Net, {parameters:,} parameters, {model.steps} steps"
    image_wh = (denoiser.noise_shape[2], denoiser.noise_shape[1])
    if isinstance(denoiser, TextDenoiser):
        return SourceModel(
            model,
            f"{variant}, with text",
            (),
            noise_shape=denoiser.noise_shape,
            image_size_wh=image_wh,
            token_shape=(LENGTH,),
            token_count=denoiser.word_count,
            tokenizers=(tokenizer_json(),),
        )
    classes = names or tuple(str(label) for label in range(denoiser.classes))
    return SourceModel(
        model, variant, (*classes, ANY), noise_shape=denoiser.noise_shape, image_size_wh=image_wh
    )
