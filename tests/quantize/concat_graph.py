"""The smallest graph for which OpenVINO's results differ if activations are signed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Floats = npt.NDArray[np.float32]

CHANNELS, SIDE = 16, 8
"""Of each of the two inputs."""

_WEIGHT = 100


def concat_graph(scale: float, *, zero_point: np.generic, before: bool = False) -> onnx.ModelProto:
    """Two inputs, joined, quantized and dequantized, then a 1x1 convolution that answers what it is given.

    With `before` each input is quantized and dequantized by itself, and joined then.
    """
    channels = 2 * CHANNELS
    weights = np.zeros((channels, channels, 1, 1), np.int8)
    weights[np.arange(channels), np.arange(channels)] = _WEIGHT
    constants: dict[str, Any] = {
        "scale": np.float32(scale),
        "zero_point": zero_point,
        "weights": weights,
        "weight_scale": np.full(channels, 1 / _WEIGHT, np.float32),
        "weight_zero_point": np.zeros(channels, np.int8),
    }

    def quantized(name: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [name, "scale", "zero_point"], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero_point"], [f"{name}_dq"]),
        ]

    if before:
        joined = helper.make_node("Concat", ["left_dq", "right_dq"], ["joined_dq"], axis=1)
        nodes = [*quantized("left"), *quantized("right"), joined]
    else:
        joined = helper.make_node("Concat", ["left", "right"], ["joined"], axis=1)
        nodes = [joined, *quantized("joined")]
    weight_inputs = ["weights", "weight_scale", "weight_zero_point"]
    nodes += [
        helper.make_node("DequantizeLinear", weight_inputs, ["weights_dq"], axis=0),
        helper.make_node("Conv", ["joined_dq", "weights_dq"], ["answer"]),
    ]
    shape = [1, CHANNELS, SIDE, SIDE]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("left", "right")]
    output = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, channels, SIDE, SIDE])
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "concat", inputs, [output], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def concat_inputs() -> dict[str, Floats]:
    """The same evenly spaced values from -12.9 to 12.9 for both inputs."""
    values = np.linspace(-12.9, 12.9, CHANNELS * SIDE * SIDE, dtype=np.float32)
    values = values.reshape(1, CHANNELS, SIDE, SIDE)
    return {"left": values, "right": values}


def concat_answer(scale: float) -> Floats:
    """What the graph is to answer: its inputs, rounded to the scale and cut at its range."""
    joined = np.concatenate([*concat_inputs().values()], axis=1)
    return (np.clip(np.rint(joined / np.float32(scale)), -128, 127) * np.float32(scale)).astype(np.float32)
