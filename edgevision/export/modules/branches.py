"""Finds Python code of a network whose path depends on the values of its input: a trace records only one path."""

from __future__ import annotations

import contextlib
import linecache
import warnings
from pathlib import Path

import torch
from torch.jit._trace import TracerWarning

from edgevision.export.modules.outputs import is_ours

_SHOWN = 3


def traced_branches(module: torch.nn.Module, *tensors: torch.Tensor) -> tuple[str, ...]:
    """Lines of the user's code that a trace replaces by their result for these inputs; empty if there are none.

    Checks of a shape are among them, because a trace holds shapes as tensors; they are harmless. A line reads
    "net.py, line 12, `if x.mean() > 0:`".
    """
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        with contextlib.suppress(
            Exception
        ):  # of the tracer, or of the user's code: earlier warnings still count
            torch.jit.trace(module, tensors, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
    found = []
    for warning in caught:
        if issubclass(warning.category, TracerWarning) and not is_ours(warning.filename):
            code = linecache.getline(warning.filename, warning.lineno).strip()
            found.append(f"{Path(warning.filename).name}, line {warning.lineno}, `{code}`")
    return tuple(dict.fromkeys(found))


def branch_hint(module: torch.nn.Module, *tensors: torch.Tensor) -> str:
    """A sentence on `traced_branches` to append to a message; empty if there are none."""
    lines = traced_branches(module, *tensors)
    if not lines:
        return ""
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return (
        ". PyTorch's exporter records one path through Python code. The path or a value may depend on the image in"
        f" {'; '.join(lines[:_SHOWN])}{more}: compute it with tensors, such as torch.where"
    )
