"""Converts between signed and unsigned INT8 activations, which represent the same numbers.

TensorRT supports only signed activations with a zero-point of 0. OpenVINO's CPU plug-in computes with unsigned ones. It
shifts signed ones by 128 itself, and around a Concat loses their scale while doing so (docs/openvino-int8.md).
``uint8`` with zero-point 128 represents exactly the values of ``int8`` with zero-point 0, so a graph for CPU engines
uses the former. Weights stay signed.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgevision.errors import GraphError

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

_SHIFT = 128

Integer = np.dtype[np.int8] | np.dtype[np.uint8]


def with_unsigned_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose activations are quantized to uint8 around 128, which CPU engines compute correctly and fast.

    Raises `GraphError` if an activation's zero-point is not one number stored in the graph.
    """
    return _converted(model, np.dtype(np.int8), np.dtype(np.uint8), _SHIFT)


def with_signed_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose activations are quantized to int8, around 0 instead of 128, for TensorRT.

    Raises `GraphError` if an activation's zero-point is not one number stored in the graph.
    """
    return _converted(model, np.dtype(np.uint8), np.dtype(np.int8), -_SHIFT)


def activation_quantizers(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The QuantizeLinear nodes of activations, whose input is computed, not stored."""
    stored = {tensor.name for tensor in graph.initializer}
    stored |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    return [node for node in graph.node if node.op_type == QUANTIZE and node.input[0] not in stored]


def _converted(model: onnx.ModelProto, old: Integer, new: Integer, shift: int) -> onnx.ModelProto:
    """Change activations of dtype `old` to dtype `new`, with `shift` added to their zero-points."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    quantized: set[str] = set()
    for node in activation_quantizers(graph):
        zero = _zero_point(node, stored)
        if zero.dtype == old:
            _set_zero_point(graph, node, int(zero) + shift, new)
            quantized.update(node.output)
    quantized = _carried(graph, quantized)
    for node in graph.node:
        if node.op_type == DEQUANTIZE and node.input[0] in quantized:
            _set_zero_point(graph, node, int(_zero_point(node, stored)) + shift, new)
    _drop_unused(graph)
    stale = [value for value in graph.value_info if value.name in quantized]
    for value in stale:
        value.type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(new)
    return result


def _carried(graph: onnx.GraphProto, names: Collection[str]) -> set[str]:
    """`names` and every value derived from them without dequantizing: a MaxPool on INT8, a Reshape."""
    found = set(names)
    for node in graph.node:  # topologically sorted
        if node.op_type not in (QUANTIZE, DEQUANTIZE) and found.intersection(node.input):
            found.update(node.output)
    return found


def _zero_point(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> npt.NDArray[np.integer]:
    """The node's one zero-point; without that input it is uint8 0, as ONNX defines."""
    if len(node.input) < 3 or not node.input[2]:
        return np.zeros((), np.uint8)
    tensor = stored.get(node.input[2])
    if tensor is None or int(np.prod(tensor.dims)) != 1:
        raise GraphError(
            f"the zero-point of {node.name or node.op_type}, {node.input[2]!r}, is not one number stored in the graph;"
            " expected activations quantized per tensor"
        )
    return numpy_helper.to_array(tensor).reshape(())


def _set_zero_point(graph: onnx.GraphProto, node: onnx.NodeProto, value: int, dtype: Integer) -> None:
    """Set the node's zero-point to a value and dtype; equal ones share one initializer."""
    name = f"zero_point_{dtype}_{value}"
    if all(tensor.name != name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
    inputs = [*node.input[:2], name]
    del node.input[:]
    node.input.extend(inputs)


def _drop_unused(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
