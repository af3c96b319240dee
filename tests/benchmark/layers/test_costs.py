"""Operations and bytes of nodes and fused layers."""

from __future__ import annotations

import math

import onnx
import pytest

from edgevision.benchmark.layers.costs import LayerCost, layer_cost, main_node, node_flops
from edgevision.bundle.folder import Bundle
from edgevision.engines.profiles.graph import Node, Tensor, read_graph
from edgevision.engines.profiles.onnxruntime import measured_values
from edgevision.graph.macs import macs_of_weighted_nodes
from tests.engines.profiles.graphs import residual

VALUES = {
    "x": Tensor((1, 4, 10, 10), 4),
    "w": Tensor((8, 4, 3, 3), 4),
    "grouped": Tensor((8, 2, 3, 3), 4),
    "up": Tensor((4, 8, 2, 2), 4),
    "bias": Tensor((8,), 4),
    "y": Tensor((1, 8, 10, 10), 4),
    "big": Tensor((1, 8, 20, 20), 4),
    "a": Tensor((2, 5, 6), 4),
    "b": Tensor((2, 6, 7), 4),
    "c": Tensor((2, 5, 7), 4),
    "tall": Tensor((6, 5), 4),
    "flat": Tensor((5, 7), 4),
}


@pytest.mark.parametrize(
    ("kind", "inputs", "output", "attributes", "flops"),
    [
        ("Conv", "x w", "y", {}, 2 * 800 * 36),
        ("Conv", "x grouped bias", "y", {}, 2 * 800 * 18 + 800),
        ("ConvTranspose", "x up", "big", {}, 2 * 400 * 32),
        ("MatMul", "a b", "c", {}, 2 * 70 * 6),
        ("Gemm", "tall b", "flat", {"transA": (1,)}, 2 * 35 * 6),
        ("Sigmoid", "y", "y", {}, 800),
        ("MaxPool", "x", "x", {"kernel_shape": (3, 3)}, 400 * 9),
        ("GlobalAveragePool", "x", "bias", {}, 400),
        ("ReduceMean", "x", "bias", {}, 400),
        ("Reshape", "x", "nowhere", {}, 0),
        ("Conv", "x nowhere", "y", {}, None),
        ("Add", "x x", "nowhere", {}, None),
    ],
)
def test_operations_follow_from_shapes(
    kind: str, inputs: str, output: str, attributes: dict[str, tuple[int, ...]], flops: int | None
) -> None:
    node = Node("n", kind, tuple(inputs.split()), (output,), attributes)
    assert node_flops(node, VALUES) == flops


def test_a_fused_layer_moves_only_what_leaves_and_enters_it() -> None:
    graph = residual()
    values = {name: Tensor((1, 8, 8, 8), 4) for name in "abcdefg"} | {"frames": Tensor((1, 3, 8, 8), 4)}
    size, weights = 512 * 4, math.prod((8, 3, 3, 3)) * 4
    assert layer_cost(graph, ("Conv a", "Relu b"), values, "float") == LayerCost(
        2 * 512 * 27 + 512, 192 * 4 + weights + size
    )
    half = layer_cost(graph, ("Conv a", "Relu b"), values, "bf16")
    assert half is not None
    assert half.bytes == (192 * 4 + weights + size) // 2
    added = layer_cost(graph, ("Conv c", "Add d", "Relu e"), values, "float")
    assert added == LayerCost(2 * 512 * 27 + 1024, 2 * size + weights - size + size), "b is read once"
    assert layer_cost(graph, (), values, "float") is None
    assert layer_cost(graph, ("Conv a",), {}, "float") is None
    assert main_node(graph, ("Conv c", "Add d", "Relu e"), values) == "Conv c"
    assert main_node(graph, ("Conv c", "Add d"), {}) == "Add d"


def test_products_of_a_real_graph_are_twice_its_multiply_accumulates() -> None:
    bundle = Bundle.open("street")
    graph, model = read_graph(bundle.graph_path()), onnx.load(bundle.graph_path())
    frames = bundle.golden().frames[:1]
    values = {**graph.stored, **measured_values(bundle.graph_path(), frames)}
    values["frames"] = Tensor(frames.shape, 1)
    unknown = [node.name for node in graph.nodes if node_flops(node, values) is None]
    assert unknown == []
    for name, macs in macs_of_weighted_nodes(model).items():
        node = next(one for one in graph.nodes if one.name == name)
        biased = values[node.output[0]].elements if len(node.input) > 2 else 0
        assert node_flops(node, values) == 2 * macs + biased
