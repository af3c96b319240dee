"""Text to image of digits: a contrastive encoder, a prior, a diffusion decoder and an upsampler in one graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import Text2ImagePlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.generators.text2image import Text2Image

TEXTS = (
    "a thick handwritten seven, slanted left, red on white",
    "a thin handwritten two, upright, white on blue",
    "a medium handwritten zero, slanted right, black on yellow",
    "bold green 4, leaning right, on black paper",
    "the digit nine in fine blue ink, straight, on white",
    "3, yellow on a red background, thick, leaning left",
    "a handwritten five",
    "",
)
"""Of the golden images."""


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the networks that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.generators.text2image import text2image_from_state_dict

    return _source_model(text2image_from_state_dict(read_checkpoint(checkpoint).tensors))


def untrained() -> SourceModel:
    """The narrowest networks and two steps of the decoder: more steps only make a larger graph."""
    import torch

    from edgevision.models.generators.diffusion import Denoiser
    from edgevision.models.generators.text2image import PairEncoder, Prior, Text2Image
    from edgevision.models.sr import Upscaler

    torch.manual_seed(0)
    decoder = Denoiser(3, 32, 16, vector=True)
    decoder.steps.fill_(2)
    decoder.guidance.fill_(2.0)
    return _source_model(Text2Image(PairEncoder(16, 16), Prior(16, 32, 2), decoder, Upscaler(2, 8, 2)).eval())


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the networks' names."""
    from edgevision.models.weights import holds

    return checkpoint.module is None and holds(
        checkpoint.tensors, "encoder.text.words.weight", "prior.first.weight", "decoder.stem.weight"
    )


def _source_model(model: Text2Image) -> SourceModel:
    from edgevision.models.generators.words import LENGTH, WORDS, tokenizer_json, tokens_of_texts

    parameters = sum(tensor.numel() for tensor in model.parameters())
    rows = tokens_of_texts(list(TEXTS)).tolist()
    return SourceModel(
        model,
        f"encoder, prior, decoder of {int(model.decoder.steps)} steps and upsampler, {parameters:,} parameters",
        (),
        noise_shape=model.noise_shape,
        token_shape=(LENGTH,),
        token_count=len(WORDS),
        tokenizers=(tokenizer_json(),),
        token_examples=tuple(tuple(row) for row in rows),
    )


RECIPE = Recipe(
    name="text2image",
    task="generate",
    summary="images of digits from captions, trained on digits rendered with attributes",
    size_wh=(56, 56),
    stride=4,
    pixels=PixelFormat("rgb"),
    fit="exact",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=Text2ImagePlan(),
)
