"""Reads the results of `edgevision train` in a run folder."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path

import safetensors

import edgevision
from edgevision.contract.spec import Provenance, utc_now
from edgevision.errors import CheckpointError
from edgevision.models.recipe import Recipe, SourceModel
from edgevision.storage.sha256 import sha256_of_file

_BEST = "best.safetensors"


@dataclass(frozen=True, slots=True)
class Trained:
    """Weights to export, with the input size that they were trained for if recorded."""

    checkpoint: Path
    size_wh: tuple[int, int] | None = None


def trained_from(path: Path) -> Trained:
    """A run folder's best weights, or the file itself; raises `CheckpointError` for a folder without a run.

    Weights that were published from a run still record the size that they were trained for.
    """
    if path.suffix == ".safetensors" and path.is_file():
        return Trained(path, _stated_size(path))
    if not path.is_dir():
        return Trained(path)
    best = path / _BEST
    if not best.is_file():
        raise CheckpointError(
            f"{path} is a folder without {_BEST}: it is not a run of `edgevision train`, or the run has no"
            " validation result yet"
        )
    return Trained(best, _stated_size(best))


def model_name(checkpoint: Path) -> str:
    """A model's name: that of its file, or of its run folder, in which all files have equal names."""
    return checkpoint.resolve().parent.name if checkpoint.name == _BEST else checkpoint.stem


def provenance_of(recipe: Recipe, source: SourceModel, checkpoint: Path | None) -> Provenance:
    """Origin of an exported model: its checkpoint, or the recipe's own file, and the versions of this environment."""
    file = checkpoint or recipe.file
    return Provenance(
        source=file.name if file else "random weights, seed 0",
        source_sha256=sha256_of_file(file) if file else None,
        recipe=f"{recipe.name}: {source.variant}",
        created=utc_now(),
        versions=_versions(),
    )


def _versions() -> tuple[tuple[str, str], ...]:
    found = [("edgevision", edgevision.__version__)]
    for package in ("torch", "onnx", "onnxslim", "onnxruntime", "numpy"):
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue  # onnxruntime-gpu may provide the module under another name
    return tuple(found)


def _stated_size(weights: Path) -> tuple[int, int] | None:
    try:
        with safetensors.safe_open(str(weights), "np") as file:
            size = json.loads((file.metadata() or {}).get("size", "null"))
    except (safetensors.SafetensorError, OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{weights} cannot be read: {error}") from error
    return _size(size)


def _size(value: object) -> tuple[int, int] | None:
    if isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value):
        return value[0], value[1]
    return None
