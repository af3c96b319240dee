"""Reads a pipeline folder of diffusers: which parts it has, and whether its files are safe to load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.errors import CheckpointError, UnsafeCheckpointError

INDEX = "model_index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
CLASSES: dict[str, tuple[str, ...]] = {
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
}
"""Supported classes of each part, the scheduler excepted."""
PARTS: dict[str, tuple[str, ...]] = {
    "StableDiffusionPipeline": ("tokenizer", "text_encoder", "unet", "vae"),
    "LatentConsistencyModelPipeline": ("tokenizer", "text_encoder", "unet", "vae"),
    "StableDiffusionXLPipeline": (
        "tokenizer",
        "tokenizer_2",
        "text_encoder",
        "text_encoder_2",
        "unet",
        "vae",
    ),
}
"""Parts of each supported pipeline, the scheduler excepted."""


@dataclass(frozen=True, slots=True)
class PipelineFolder:
    """A folder whose parts are supported and whose weights are safetensors files."""

    path: Path
    kind: str
    """Class of the pipeline."""
    parts: Mapping[str, str]
    """Class of each part, by the name of its folder."""
    scheduler: str
    variants: Mapping[str, str | None]
    """Variant of the weights of each part, such as "fp16"; None: the plain file."""
    zeros_for_empty_text: bool
    """True if guidance starts from states of 0, not from those of an empty text."""

    def config(self, part: str) -> dict[str, Any]:
        """Settings of a part; raises `CheckpointError`."""
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        return _json(self.path / part / name)


def is_pipeline(path: Path) -> bool:
    """True for a folder of a pipeline."""
    return (path / INDEX).is_file()


def read_pipeline_folder(path: Path) -> PipelineFolder:
    """Check the folder; raises `CheckpointError`, or `UnsafeCheckpointError` if weights are pickles only."""
    index = _json(path / INDEX)
    kind = index.get("_class_name")
    if kind not in PARTS:
        raise CheckpointError(
            f"{path} is a pipeline of class {kind!a:.80}; expected one of {', '.join(PARTS)}"
        )
    parts = {part: _part_class(path, index, part, CLASSES[part]) for part in PARTS[kind]}
    scheduler = _part_class(path, index, "scheduler", None)
    variants = {part: _variant(path / part) for part in PARTS[kind] if not part.startswith("tokenizer")}
    zeros = kind == "StableDiffusionXLPipeline" and index.get("force_zeros_for_empty_prompt", True)
    return PipelineFolder(path, kind, parts, scheduler, variants, bool(zeros))


def _part_class(path: Path, index: Mapping[str, Any], part: str, supported: tuple[str, ...] | None) -> str:
    """Class of a part, which must be one of diffusers or transformers: code from the folder never runs."""
    entry = index.get(part)
    valid = isinstance(entry, list) and len(entry) == 2 and entry[0] in ("diffusers", "transformers")
    name = entry[1] if valid and isinstance(entry, list) else None
    if supported is None and isinstance(name, str) and name.isidentifier() and name.endswith("Scheduler"):
        return name
    if supported is not None and name in supported:
        return str(name)
    expected = "a scheduler of diffusers" if supported is None else " or ".join(supported)
    raise CheckpointError(f"{part} of {path} is {entry!a:.120}; expected {expected}")


def _variant(folder: Path) -> str | None:
    """Variant of the weights in a part's folder: the plain file first, then fp16."""
    names = sorted(file.name for file in folder.glob("*.safetensors*"))
    for variant in (None, "fp16"):
        ends = ".safetensors" if variant is None else f".{variant}.safetensors"
        if any(name.endswith(ends) and (variant or ".fp16." not in name) for name in names):
            return variant
    pickles = sorted(file.name for file in folder.glob("*") if file.suffix in PICKLES)
    if pickles:
        raise UnsafeCheckpointError(
            f"{folder} has its weights in {pickles[0]}, a pickle, which can run code; expected a .safetensors file."
            " Most pipelines are published in both forms; `pipeline.save_pretrained(FOLDER)` of diffusers writes it"
        )
    raise CheckpointError(f"{folder} has no weights; expected a .safetensors file")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror}; copy the whole folder of the pipeline"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}; copy it again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds {type(found).__name__}; expected a JSON object")
    return found
