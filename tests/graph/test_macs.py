"""Multiply-accumulates counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import GraphError
from edgevision.graph.macs import macs_of_weighted_nodes


def single(
    kind: str, weights: tuple[int, ...], shape: list[int | str], rank: int, **attributes: Any
) -> onnx.ModelProto:
    node = helper.make_node(kind, ["x", "w"], ["y"], name="node", **attributes)
    graph = helper.make_graph(
        [node],
        "single",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(np.zeros(weights, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (single("Conv", (8, 3, 3, 3), [1, 3, 10, 12], 4), 8 * 8 * 10 * 27),
        (single("Conv", (8, 3, 3, 3), ["batch", 3, 10, 12], 4), 8 * 8 * 10 * 27),
        (single("Conv", (8, 3, 3, 3), [4, 3, 10, 12], 4, strides=[2, 2]), 8 * 4 * 5 * 27),
        (single("Conv", (6, 1, 3, 3), [1, 6, 5, 5], 4, group=6), 6 * 9 * 9),
        (single("ConvTranspose", (4, 2, 2, 2), [1, 4, 5, 5], 4, strides=[2, 2]), 4 * 25 * 8),
        (single("Gemm", (20, 7), [1, 20], 2), 7 * 20),
        (single("Gemm", (7, 20), [1, 20], 2, transB=1), 7 * 20),
        (single("MatMul", (20, 7), [1, 5, 20], 3), 5 * 7 * 20),
        (single("MatMul", (20,), [1, 5, 20], 2), 5 * 20),
    ],
    ids=[
        *("conv", "dynamic-batch", "stride", "depthwise", "transposed"),
        *("gemm", "gemm-transposed", "matmul", "vector"),
    ],
)
def test_a_node_alone(model: onnx.ModelProto, expected: int) -> None:
    assert macs_of_weighted_nodes(model) == {"node": expected}


def test_the_graft_does_not_count() -> None:
    model = single("Gemm", (20, 7), [1, 20], 2)
    model.graph.node[0].name = "post/Gemm"
    assert macs_of_weighted_nodes(model) == {}


def test_an_unknown_length_is_an_error() -> None:
    with pytest.raises(GraphError, match="the shape of y"):
        macs_of_weighted_nodes(single("Conv", (8, 3, 3, 3), [1, 3, "height", 12], 4))
