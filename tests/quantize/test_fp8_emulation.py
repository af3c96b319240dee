"""FP8's rounding written out: equal to the reference of ONNX's own operators."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgevision.quantize.fp8_emulation import FLOAT8, emulated_fp8


def test_values_are_rounded_as_the_operators_round() -> None:
    weights = np.array([[1.0, -0.3], [100.0, 7.7]], np.float32)
    stored = {"w": weights, "ws": np.array([0.5, 2.0], np.float32), "xs": np.array(0.25, np.float32)}
    zero = helper.make_tensor("zero", FLOAT8, [], [0.0])
    zeros = helper.make_tensor("zeros", FLOAT8, [2], [0.0, 0.0])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "zero"], ["xq"], name="xq"),
        helper.make_node("DequantizeLinear", ["xq", "xs", "zero"], ["xd"], name="xd"),
        helper.make_node("QuantizeLinear", ["w", "ws", "zeros"], ["wq"], name="wq", axis=0),
        helper.make_node("DequantizeLinear", ["wq", "ws", "zeros"], ["wd"], name="wd", axis=0),
        helper.make_node("Add", ["xd", "wd"], ["y"], name="y"),
    ]
    shape = [2, 2]
    graph = helper.make_graph(
        nodes,
        "fp8",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [*(numpy_helper.from_array(value, name) for name, value in stored.items()), zero, zeros],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    x = np.array([[0.1, 3.3], [-20.0, 500.0]], np.float32)
    expected = cast(list[Any], ReferenceEvaluator(model).run(None, {"x": x}))[0]
    emulated = emulated_fp8(model)
    assert "QuantizeLinear" not in {node.op_type for node in emulated.graph.node}
    session = onnxruntime.InferenceSession(emulated.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], expected)
    assert not np.array_equal(expected, x + weights)
