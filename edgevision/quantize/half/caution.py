"""Rules for operations that stay in FP32 although their measured values fit: frames may not show the worst case."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from onnx import TensorProto

from edgevision.quantize.half.flow import Flow
from edgevision.quantize.half.operators import ELEMENTWISE

LARGEST = 65504.0
"""The largest finite FP16 number."""

WHOLE = 2048
"""FP16 represents every integer up to this one."""

LARGEST_ERROR = 0.01
"""Relative rounding error of a small constant above which its operation stays FP32: half a step at about 3e-6."""

LARGEST_MAP = 128
"""Side of a feature map above which FP16 positions, with steps of 2^-11, err by more than 1/32 of a cell."""

_SMALL_CONSTANTS = frozenset(("Add", "Sub", "Clip", "Max", "Div", "Pow"))
_AFTER_EPSILON = frozenset(("Sqrt", "Reciprocal", "Div", "Log", "Pow"))
_BEFORE_EPSILON = frozenset(("ReduceMean", "ReduceSum", "Pow", "Mul", "Sub"))
_ROUNDING = frozenset(("Floor", "Ceil", "Round", "Mod"))
_INTEGERS = (TensorProto.INT32, TensorProto.INT64, TensorProto.INT16, TensorProto.UINT8, TensorProto.INT8)


def cautions(flow: Flow, largest: Mapping[str, float]) -> dict[int, str]:
    """Indices of nodes that stay FP32, with the reason; `largest` holds the magnitudes that a probe measured.

    - A quotient by a clipped value: ``x / max(1 - x, 1e-5)`` reaches 1e5 as soon as x is near 1, which few frames show.
    - A constant that FP16 rounds to 0 or by more than `LARGEST_ERROR`, such as the epsilon 1e-12 under a root.
    - Integers above `WHOLE`: indices, and coordinates in pixels before they are rounded.
    - Sampling positions on feature maps with a side above `LARGEST_MAP`.
    """
    found: dict[int, str] = {}
    rules = (
        _quotients(flow, largest),
        _vanishing(flow),
        _rounded(flow, largest),
        _whole_constants(flow),
        _positions(flow),
    )
    for index, reason in itertools.chain(*rules):
        found.setdefault(index, reason)
    return found


def _quotients(flow: Flow, largest: Mapping[str, float]) -> Iterator[tuple[int, str]]:
    for index, node in enumerate(flow.nodes):
        if node.op_type not in ("Div", "Reciprocal"):
            continue
        least = _least(flow, node.input[-1])
        if least is None or least <= 0:
            continue
        reached = _most(flow, node.input[0], largest) if node.op_type == "Div" else 1.0
        if reached / least <= LARGEST:
            continue
        reason = f"its divisors are clipped at {least:.3g}, so a quotient can reach {reached / least:.3g}"
        chain = flow.upstream([index], lambda i: flow.moves(i) or flow.nodes[i].op_type in ELEMENTWISE)
        readers = {i for i in flow.after(index) if flow.nodes[i].op_type == "Log"}
        yield from ((i, reason) for i in sorted(chain | readers))


def _least(flow: Flow, name: str) -> float | None:
    """The smallest value that the constant of a Clip or a Max guarantees; None for other operators."""
    if name not in flow.producer:
        return None
    node = flow.nodes[flow.producer[name]]
    if node.op_type == "Clip":
        bound = flow.constant(node.input[1]) if len(node.input) > 1 else None
    elif node.op_type == "Max":
        bound = next((v for v in map(flow.constant, node.input) if v is not None), None)
    else:
        return None
    return float(bound.item()) if bound is not None and bound.size == 1 else None


def _most(flow: Flow, name: str, largest: Mapping[str, float]) -> float:
    """The largest magnitude: the upper limit of a Clip, or the value that the probe measured."""
    node = flow.nodes[flow.producer[name]] if name in flow.producer else None
    if node is not None and node.op_type == "Clip" and len(node.input) > 2:
        bound = flow.constant(node.input[2])
        if bound is not None:
            return float(bound.item())
    return max(largest.get(name, 1.0), 1.0)


def _vanishing(flow: Flow) -> Iterator[tuple[int, str]]:
    for index, node in enumerate(flow.nodes):
        for name in node.input if node.op_type in _SMALL_CONSTANTS else ():
            value = flow.constant(name)
            if value is None or value.dtype != np.float32 or value.size != 1 or not 0 < abs(value.item()) < 1:
                continue
            exact = abs(float(value.item()))
            rounded = float(np.float16(exact))
            if abs(rounded - exact) > LARGEST_ERROR * exact:
                reason = f"FP16 rounds its constant {exact:.3g} to {rounded:.3g}"
                chain = flow.downstream([index], lambda i: flow.nodes[i].op_type in _AFTER_EPSILON)
                # Values to which such a constant is added are as small.
                chain |= flow.upstream([index], lambda i: flow.nodes[i].op_type in _BEFORE_EPSILON)
                yield from ((i, reason) for i in sorted(chain))


def _rounded(flow: Flow, largest: Mapping[str, float]) -> Iterator[tuple[int, str]]:
    for index, node in enumerate(flow.nodes):
        to = next((a.i for a in node.attribute if a.name == "to"), None) if node.op_type == "Cast" else None
        reached = largest.get(node.input[0], 0.0) if node.op_type in _ROUNDING or to in _INTEGERS else 0.0
        if reached > WHOLE:
            reason = f"it rounds values up to {reached:.4g}; FP16 represents all integers only up to {WHOLE}"
            chain = flow.upstream([index], lambda i: flow.moves(i) or flow.nodes[i].op_type in ELEMENTWISE)
            yield from ((i, reason) for i in sorted(chain))


def _whole_constants(flow: Flow) -> Iterator[tuple[int, str]]:
    for index, node in enumerate(flow.nodes):
        for name in node.input if node.op_type in ELEMENTWISE else ():
            value = flow.constant(name)
            if value is None or value.dtype != np.float32 or not value.size:
                continue
            reached = float(np.abs(value).max())
            whole = WHOLE < reached <= LARGEST and bool((value == np.rint(value)).all())
            if whole and (value.astype(np.float16) != value).any():
                yield index, f"its constant {name} holds integers up to {reached:.0f}; FP16 rounds them"


def _positions(flow: Flow) -> Iterator[tuple[int, str]]:
    def arithmetic(index: int) -> bool:
        return flow.moves(index) or flow.nodes[index].op_type in (*ELEMENTWISE, "Concat", "Split")

    for node in flow.nodes:
        if node.op_type != "GridSample":
            continue
        side = max((length for length in flow.shapes.get(node.input[0], ())[2:] if length), default=0)
        if side > LARGEST_MAP and node.input[1] in flow.producer:
            reason = f"it computes sampling positions on a feature map with a side of {side}"
            chain = flow.upstream([flow.producer[node.input[1]]], arithmetic)
            yield from ((i, reason) for i in sorted(chain))
