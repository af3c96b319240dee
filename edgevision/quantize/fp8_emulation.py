"""Emulates FP8 arithmetic in ONNX Runtime on CPUs without FP8.

ONNX Runtime fuses FP8's Q/DQ with a convolution into an INT8 kernel, which then rejects the type. Written as divisions,
casts and products, the graph gives the same numbers and nothing is fused.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT8 = TensorProto.FLOAT8E4M3FN


def emulated_fp8(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph without Q/DQ that rounds to FP8 where `model` does."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    ranks = {name: len(tensor.dims) for name, tensor in stored.items()}
    written: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            written.append(node)
            continue
        value, output, inner = node.input[0], node.output[0], f"{node.output[0]}/exact"
        scale = numpy_helper.to_array(stored[node.input[1]]).astype(np.float32)
        if scale.size > 1:  # a scale for each channel of weights, whose rank is known
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            scale = scale.reshape([-1] + [1] * (ranks[value] - 1 - axis))
            ranks[output] = ranks[value]
        step = f"{output}/step"
        graph.initializer.append(numpy_helper.from_array(scale, step))
        if node.op_type == "QuantizeLinear":
            written.append(helper.make_node("Div", [value, step], [inner], name=f"{node.name}/div"))
            written.append(helper.make_node("Cast", [inner], [output], name=node.name, to=FLOAT8))
        else:
            cast = helper.make_node("Cast", [value], [inner], name=f"{node.name}/cast", to=TensorProto.FLOAT)
            written += [cast, helper.make_node("Mul", [inner, step], [output], name=node.name)]
    del graph.node[:]
    graph.node.extend(written)
    del graph.value_info[:]
    return result
