"""Assigns a checkpoint's tensors to a model, and checks that names and shapes match completely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from edgevision.errors import CheckpointError


def assign_weights(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Make `tensors` the parameters and buffers of a model, which may be on the meta device.

    Raises `CheckpointError` that names missing, unexpected or wrongly shaped tensors; the model is then unchanged.
    """
    expected = model.state_dict()
    missing = expected.keys() - tensors.keys()
    unknown = tensors.keys() - expected.keys()
    shapes = [
        f"{name} {list(tensors[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    types = [
        f"{name} {str(tensors[name].dtype).removeprefix('torch.')}"
        for name, tensor in expected.items()
        if name in tensors and tensor.is_floating_point() and not tensors[name].is_floating_point()
    ]
    problems = [
        f"{label} {_few(found)}"
        for label, found in (
            ("missing:", sorted(missing)),
            ("not expected:", sorted(unknown)),
            ("of shape:", shapes),
            ("not floating-point:", types),
        )
        if found
    ]
    if problems:
        raise CheckpointError(f"weights do not fit {type(model).__name__}; {'; '.join(problems)}")
    model.load_state_dict(dict(tensors), strict=True, assign=True)


def take_fitting(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> int:
    """Copy the tensors whose names and shapes match the model's into it, except buffers that are not statistics.

    Returns the number of parameters that were set. Output layers stay unchanged if the numbers of classes differ.
    """
    own = {**dict(model.named_parameters()), **_statistics(model)}
    fitting = {name: own[name] for name in own if name in tensors and tensors[name].shape == own[name].shape}
    with torch.no_grad():
        for name, value in fitting.items():
            value.copy_(tensors[name])
    return sum(value.numel() for name, value in model.named_parameters() if name in fitting)


def _statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.named_buffers() if ".running_" in name}


def without_prefix(tensors: Mapping[str, torch.Tensor], known: str) -> dict[str, torch.Tensor]:
    """Remove a prefix that a training wrapper added to all names ("model.", "net.", "backbone.").

    `known` is a name that every such model has; names are unchanged if no single prefix leads to it.
    """
    prefixes = [name.removesuffix(known) for name in tensors if name == known or name.endswith(f".{known}")]
    if len(prefixes) != 1 or not all(name.startswith(prefixes[0]) for name in tensors):
        return dict(tensors)
    return {name.removeprefix(prefixes[0]): tensor for name, tensor in tensors.items()}


def holds(tensors: Mapping[str, torch.Tensor], *names: str) -> bool:
    """True if a state dict has tensors of all these names, under one prefix or none."""
    found = without_prefix(tensors, names[0])
    return all(name in found for name in names)


def _few(names: Iterable[str], count: int = 3) -> str:
    found = [ascii(name[:120])[1:-1] for name in names]
    return ", ".join(found[:count]) + (f", ... ({len(found)} in all)" if len(found) > count else "")
