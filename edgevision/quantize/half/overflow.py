"""Finds the operations of an FP16 graph that return NaN or infinity, and those that cause it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import onnx

from edgevision.contract.inputs import Batch
from edgevision.quantize.calibration.magnitudes import non_finite_values
from edgevision.quantize.fp16_emulation import emulated_half


@dataclass(frozen=True, slots=True)
class Overflow:
    """The first operation whose value is not finite in FP16."""

    node: str
    value: str
    """Its output, by the name of the float graph."""
    rounded: bool
    """True: only the rounding to FP16 made it infinite. False: inputs that FP16 rounded did, such as a divisor of 0."""


def first_overflow(
    half: onnx.ModelProto, batches: Iterable[Batch], expected: Collection[str]
) -> Overflow | None:
    """The first value in the order of the graph that FP16's rounding makes NaN or infinite; None if there is none.

    `expected` are the values that are infinite in the float graph too, such as a mask.
    """
    graph = emulated_half(half)
    own = [name for node in half.graph.node for name in node.output]
    broken = non_finite_values(graph, batches, {*own, *[f"{name}/exact" for name in own]})
    for node in half.graph.node:
        for value in node.output:
            if value not in expected and f"{value}/exact" in broken:
                return Overflow(node.name, value, rounded=False)
            if value not in expected and value in broken:
                return Overflow(node.name, value, rounded=_is_half(graph, value))
    return None


def _is_half(emulated: onnx.ModelProto, value: str) -> bool:
    return any(f"{value}/rounded" in node.output for node in emulated.graph.node)
