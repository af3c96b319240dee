"""Small graphs with known fusions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision.engines.profiles.graph import Graph, read_graph

WEIGHTS = np.zeros((8, 3, 3, 3), np.float32)


def graph_of(nodes: Sequence[onnx.NodeProto], output: str) -> Graph:
    """A graph from ``frames`` to one output; ``w`` is a stored weight."""
    made = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    return read_graph(helper.make_model(made).SerializeToString())


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """A node that is named for its operator and output, such as "Conv a"."""
    return helper.make_node(kind, inputs.split(), [output], name=f"{kind} {output}", **attributes)


def residual() -> Graph:
    """A convolution with activation, and one whose sum with the first is activated; the last node copies."""
    return graph_of(
        [
            node("Constant", "", "k", value=numpy_helper.from_array(WEIGHTS)),
            node("Conv", "frames w", "a"),
            node("Relu", "a", "b"),
            node("Conv", "b k", "c"),
            node("Add", "c b", "d"),
            node("Relu", "d", "e"),
            node("Sigmoid", "e", "f"),
            node("Mul", "e f", "g"),
            node("Identity", "g", "out"),
        ],
        "out",
    )
