"""Prepares a float graph for its conversion to FP16: constants, quantized weights, types of values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edgevision.errors import GraphError, first_line
from edgevision.graph.contract import opset_of
from edgevision.graph.surgery import walk
from edgevision.quantize.signedness import DEQUANTIZE, QUANTIZE

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with all constants as initializers, weights quantized, and the opset that FP16 scales need."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    quantized = any(node.op_type in (QUANTIZE, DEQUANTIZE) for node in result.graph.node)
    if quantized and opset_of(result) < 19:
        try:
            result = onnx.version_converter.convert_version(result, 19)
        except Exception as error:  # the converter raises arbitrary C++ errors
            raise GraphError(f"the graph cannot be converted to opset 19: {first_line(error)}") from error
    graph = result.graph
    kept = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
        else:
            kept.append(node)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    if any(tensor.data_type == HALF for tensor in stored.values()):
        raise GraphError("the graph is already FP16, at least in part; expected a float32 graph")
    rest = []
    for node in kept:
        if node.op_type == QUANTIZE and node.input[0] in stored:
            graph.initializer.append(quantized_weight(node, stored))
        else:
            rest.append(node)
    del graph.node[:]
    graph.node.extend(rest)
    drop_unread(graph)
    return result


def quantized_weight(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> onnx.TensorProto:
    """The result of QuantizeLinear on a stored weight."""
    weights, scale, zero = (numpy_helper.to_array(stored[name]) for name in node.input)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.size > 1:
        shape = [-1 if i == axis % weights.ndim else 1 for i in range(weights.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    limits = np.iinfo(zero.dtype)
    steps = np.rint(weights / scale) + zero.astype(np.int32)
    return numpy_helper.from_array(steps.clip(limits.min, limits.max).astype(zero.dtype), node.output[0])


def float_types(model: onnx.ModelProto) -> dict[str, int]:
    """The computed values of type float32."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    values = (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)
    stored = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: FLOAT
        for value in values
        if value.type.tensor_type.elem_type == FLOAT and value.name not in stored
    }


def captured(graph: onnx.GraphProto) -> set[str]:
    """The values that nested graphs read from the outer graph."""
    nested: Iterator[onnx.GraphProto] = (part for part in walk(graph) if part is not graph)
    return {name for part in nested for node in part.node for name in node.input}


def largest_of(tensor: onnx.TensorProto) -> float:
    """The largest magnitude of a stored tensor; 0 if it is empty."""
    values = numpy_helper.to_array(tensor)
    return float(np.abs(values).max()) if values.size else 0.0


def drop_unread(graph: onnx.GraphProto) -> None:
    """Remove the stored tensors that no node reads, in place."""
    read = {name for part in walk(graph) for node in part.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
