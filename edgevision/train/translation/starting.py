"""Start of a training: random weights, or those of a checkpoint as far as they fit."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgevision.checkpoint.reading import read_checkpoint
from edgevision.errors import UsageError
from edgevision.models.weights import take_fitting


def started(model: nn.Module, weights: str | None) -> tuple[str, ...]:
    """Copy the weights that fit into the model, and describe it in a line; nothing for None.

    Raises `UsageError` if nothing fits, `CheckpointError`.
    """
    if weights is None:
        return ()
    path = Path(weights)
    file = path / "best.safetensors" if path.is_dir() else path
    taken = take_fitting(model, read_checkpoint(file).tensors)
    if not taken:
        raise UsageError(f"--weights {weights} contains no tensor that fits {type(model).__name__}")
    whole = sum(parameter.numel() for parameter in model.parameters())
    return (f"{taken:,} of {whole:,} parameters start from {path.name}",)
