"""Graphs are read without the onnx package, as onnx reads them."""

from __future__ import annotations

import onnx
import pytest

from edgevision.bundle.folder import Bundle
from edgevision.engines.profiles.graph import Tensor, read_graph
from edgevision.errors import GraphError
from tests.engines.profiles.graphs import residual


@pytest.mark.parametrize("name", ["street", "unet", "cnn"])
def test_nodes_and_weights_are_those_that_onnx_reads(name: str) -> None:
    path = Bundle.open(name).graph_path()
    graph, expected = read_graph(path), onnx.load(path).graph
    assert [(n.name, n.op_type, n.input, n.output) for n in graph.nodes] == [
        (n.name, n.op_type, tuple(n.input), tuple(n.output)) for n in expected.node
    ]
    assert {name: tensor.shape for name, tensor in graph.stored.items()} == {
        tensor.name: tuple(tensor.dims) for tensor in expected.initializer
    }
    sizes = {tensor.name: onnx.numpy_helper.to_array(tensor).nbytes for tensor in expected.initializer}
    assert {name: tensor.bytes for name, tensor in graph.stored.items()} == sizes
    assert graph.outputs == tuple(value.name for value in expected.output)
    ints = {(n.name, a.name): tuple(a.ints) for n in expected.node for a in n.attribute if a.ints}
    assert ints
    named = {n.name: n for n in graph.nodes}
    assert {(name, key): named[name].attributes[key] for name, key in ints} == ints


def test_constants_have_a_shape_and_belong_to_no_call() -> None:
    graph = residual()
    assert graph.stored["k"] == Tensor((8, 3, 3, 3), 4)
    assert graph.constant == {"Constant k"}
    assert [n.name for n in graph.before(graph.makers["c"])] == ["Relu b"]
    assert [n.name for n in graph.after(graph.makers["b"])] == ["Conv c", "Add d"]


def test_a_damaged_file_is_an_error() -> None:
    with pytest.raises(GraphError, match="cannot read the nodes"):
        read_graph(b"\x3a\xff\xff")
