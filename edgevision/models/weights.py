"""Putting a checkpoint's tensors into a model, each in its place and none left over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from edgevision.errors import CheckpointError


def assign_weights(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Make `tensors` the parameters and buffers of a model, which may have been built under the meta device.

    Raises `CheckpointError` that names what is missing, left over or of another shape; the model is
    unchanged then.
    """
    expected = model.state_dict()
    missing = expected.keys() - tensors.keys()
    unknown = tensors.keys() - expected.keys()
    shapes = [
        f"{name} {list(tensors[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    problems = [
        f"{label} {_few(found)}"
        for label, found in (
            ("missing:", sorted(missing)),
            ("not expected:", sorted(unknown)),
            ("of shape:", shapes),
        )
        if found
    ]
    if problems:
        raise CheckpointError(f"weights do not fit {type(model).__name__}; {'; '.join(problems)}")
    model.load_state_dict(dict(tensors), strict=True, assign=True)


def take_fitting(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> int:
    """Copy the tensors of the model's own names and shapes into it, buffers left out that are no statistics.

    Returns how many of the model's parameters were given values; what a network answers with stays as it is where
    the numbers of classes differ.
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
    """Names without what a training wrapper put before all of them ("model.", "net.", "backbone.").

    `known` is a name that the architecture cannot be without; unchanged if no single prefix leads to it.
    """
    prefixes = [name.removesuffix(known) for name in tensors if name == known or name.endswith(f".{known}")]
    if len(prefixes) != 1 or not all(name.startswith(prefixes[0]) for name in tensors):
        return dict(tensors)
    return {name.removeprefix(prefixes[0]): tensor for name, tensor in tensors.items()}


def _few(names: Iterable[str], count: int = 3) -> str:
    found = [ascii(name[:120])[1:-1] for name in names]
    return ", ".join(found[:count]) + (f", ... ({len(found)} in all)" if len(found) > count else "")
