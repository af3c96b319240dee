"""Start of a training: random weights, or those of a checkpoint as far as they fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from edgevision.checkpoint.reading import read_run
from edgevision.errors import UsageError
from edgevision.models.weights import take_fitting


def started(model: nn.Module, weights: str | None, name: str | None = None) -> tuple[str, ...]:
    """Copy the weights of a run or checkpoint that fit into the model, and describe it; nothing for None.

    Raises `UsageError` with the model's name, by default that of its class, if nothing fits; `CheckpointError`.
    """
    if weights is None:
        return ()
    tensors = read_run(Path(weights)).tensors
    return (taken_from(tensors, model, weights, name or type(model).__name__),)


def taken_from(tensors: Mapping[str, torch.Tensor], model: nn.Module, weights: str, name: str) -> str:
    """Copy the tensors that fit, and describe it in a line; raises `UsageError` if nothing fits."""
    taken = take_fitting(model, tensors)
    if not taken:
        raise UsageError(f"--weights {weights} contains no tensor that fits {name}")
    whole = sum(parameter.numel() for parameter in model.parameters())
    return f"{taken:,} of {whole:,} parameters start from {Path(weights).name}"
