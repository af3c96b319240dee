"""Loads the parts of a pipeline with diffusers and transformers."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import Tokenizer

from edgevision.errors import CheckpointError, first_line
from edgevision.export.pipelines.folder import PipelineFolder

PROMPTS = (
    "",
    "a photo of a cat",
    "A red car, parked beside a tree; 35mm film",
    "two dogs run on the beach at sunset",
    "an oil painting of a harbour with many small boats, highly detailed",
    "the number 7",
    "isometric drawing of a tiny house in a forest",
    "portrait of an old sailor with a white beard",
)
"""Texts of the golden images."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPipeline:
    """The parts in float32, in evaluation mode."""

    folder: PipelineFolder
    unet: Any
    vae: Any
    encoders: tuple[Any, ...]
    tokenizers: tuple[Tokenizer, ...]
    """With truncation and padding to the length of the text encoder, as the pipeline uses them."""
    scheduler: Any
    reference: Any
    """The pipeline of diffusers made of these parts."""

    @property
    def scale(self) -> int:
        """Pixels of the image for one value of the latent image, in each direction."""
        return int(self.reference.vae_scale_factor)

    @property
    def token_shape(self) -> tuple[int, ...]:
        """Shape of the tokens for one text: ``(77,)``, or ``(2, 77)`` with two text encoders."""
        length = int(self.encoders[0].config.max_position_embeddings)
        return (length,) if len(self.encoders) == 1 else (len(self.encoders), length)

    def tokens(self, texts: tuple[str, ...]) -> torch.Tensor:
        """Numbers int32 ``[N, *token_shape]``."""
        rows = [[one.encode(text).ids for one in self.tokenizers] for text in texts]
        return torch.tensor(rows, dtype=torch.int32).reshape(len(texts), *self.token_shape)


def load_pipeline(folder: PipelineFolder) -> LoadedPipeline:
    """Load all parts; raises `CheckpointError` with the part and the reason."""
    with _quiet():
        parts = {name: _part(folder, name) for name in folder.parts}
        scheduler = _loaded(folder, "scheduler", getattr(diffusers, folder.scheduler, None))
        further: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
        if folder.kind == "StableDiffusionXLPipeline":
            further |= {"force_zeros_for_empty_prompt": folder.zeros_for_empty_text, "add_watermarker": False}
        else:
            further |= {"safety_checker": None, "requires_safety_checker": False}
        reference = getattr(diffusers, folder.kind)(**parts, scheduler=scheduler, **further)
    reference.set_progress_bar_config(disable=True)
    encoders = tuple(parts[name] for name in ("text_encoder", "text_encoder_2") if name in parts)
    tokenizers = tuple(_fixed_length(parts[name]) for name in ("tokenizer", "tokenizer_2") if name in parts)
    return LoadedPipeline(folder, parts["unet"], parts["vae"], encoders, tokenizers, scheduler, reference)


def _part(folder: PipelineFolder, name: str) -> Any:
    kind = folder.parts[name]
    owner = transformers if name.startswith(("text", "token")) else diffusers
    loaded = _loaded(folder, name, getattr(owner, kind, None), folder.variants.get(name))
    return loaded.float().eval() if isinstance(loaded, torch.nn.Module) else loaded


def _loaded(folder: PipelineFolder, name: str, kind: Any, variant: str | None = None) -> Any:
    options: dict[str, Any] = {"local_files_only": True}
    if name in folder.variants:
        options |= {"use_safetensors": True, "variant": variant}
    if name.startswith("text"):
        options["attn_implementation"] = "eager"  # the form that ONNX has
    try:
        if kind is None:
            raise AttributeError(
                f"{folder.parts.get(name, folder.scheduler)} is not in the installed version"
            )
        return kind.from_pretrained(str(folder.path / name), **options)
    except Exception as error:  # the libraries raise any error for a bad folder
        raise CheckpointError(
            f"{folder.path / name} cannot be loaded: {type(error).__name__}: {first_line(error)}"
        ) from error


def _fixed_length(tokenizer: Any) -> Tokenizer:
    """The tokenizer with the pipeline's truncation and padding, which its file then contains."""
    found = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    length = int(tokenizer.model_max_length)
    found.enable_truncation(length)
    found.enable_padding(
        length=length, pad_id=int(tokenizer.pad_token_id), pad_token=str(tokenizer.pad_token)
    )
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the libraries' remarks on features that are not used here."""
    levels = {name: logging.getLogger(name).level for name in ("diffusers", "transformers")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
