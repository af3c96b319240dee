"""Profiles of ONNX Runtime, as its JSON records them."""

from __future__ import annotations

from typing import Any

from edgevision.engines.profiles.graph import Tensor
from edgevision.engines.profiles.onnxruntime import layers_of, values_of
from tests.engines.profiles.graphs import graph_of, node, residual

Event = dict[str, Any]


def kernel(name: str, kind: str, at: int, us: int, reads: str = "float") -> Event:
    arguments = {
        "op_name": kind,
        "input_type_shape": [{reads: [1]}],
        "output_type_shape": [{"float": [2, 3]}],
    }
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": at, "dur": us, "args": arguments}


def call(at: int, first: int, second: int) -> list[Event]:
    """One call of two fused convolutions, with a fence that is no kernel."""
    return [
        {"cat": "Node", "name": "b_nchwc_fence_before", "ts": at, "dur": 9, "args": {"op_name": "Conv"}},
        kernel("b_nchwc", "Conv", at, first),
        kernel("e", "QLinearConv", at + first, second, "uint8"),
        {"cat": "Session", "name": "model_run", "ts": at, "dur": first + second + 5},
    ]


OPTIMIZED = graph_of([node("Conv", "frames w", "reorder", activation="Relu"), node("Conv", "x w", "e")], "e")


def test_kernels_become_layers_with_a_time_of_each_call() -> None:
    events = [*call(0, 9000, 9000), *call(20_000, 1000, 3000), *call(40_000, 2000, 5000)]
    first, second = layers_of(events, residual(), OPTIMIZED, skip=1)
    assert (first.name, first.kind, first.nodes) == ("b_nchwc", "Conv", ("Conv a", "Relu b"))
    assert (first.samples_ms, first.precision) == ((1.0, 2.0), "float")
    assert (second.samples_ms, second.ms, second.mean_ms) == ((3.0, 5.0), 4.0, 4.0)
    assert second.precision == "int8"
    assert second.nodes[:3] == ("Conv c", "Add d", "Relu e")


def test_the_body_of_a_loop_counts_once() -> None:
    loop = kernel("Relu b", "Loop", 100, 50)
    inside = [kernel("inner", "Add", 110 + 10 * n, 5) for n in range(3)]
    events = [*inside, loop, kernel("Mul g", "Mul", 150, 7), {"cat": "Session", "name": "model_run"}]
    layers = layers_of(events, residual(), OPTIMIZED)
    assert [(layer.kind, layer.ms) for layer in layers] == [("Loop", 0.05), ("Mul", 0.007)]


def test_values_have_the_shapes_of_a_call() -> None:
    events = [kernel("Conv a", "Conv", 0, 1), kernel("no node", "Cast", 0, 1)]
    assert values_of(events, residual()) == {"a": Tensor((2, 3), 4)}
