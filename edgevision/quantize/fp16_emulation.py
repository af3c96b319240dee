"""Emulates FP16 arithmetic in ONNX Runtime on CPUs without FP16.

ONNX Runtime's CPU provider has few FP16 kernels. It computes an FP16 graph in float32 and removes the casts between its
nodes, so that nothing is rounded and nothing overflows. Its results then differ from those of an engine that rounds. It
keeps casts that are part of the graph itself.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision.graph.contract import check_graph

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def emulated_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 graph that rounds every value to FP16 where `model` holds an FP16 one.

    Sums inside a node are float32, as in tensor cores. Values over 65504 become infinite, as in FP16.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    values = (*inferred.graph.value_info, *inferred.graph.output)
    half = {value.name for value in values if value.type.tensor_type.elem_type == HALF}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.value_info[:]
    for tensor in graph.initializer:
        if tensor.data_type == HALF:
            exact = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(exact, tensor.name))
    written: list[onnx.NodeProto] = []
    for node in graph.node:
        written.append(node)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == HALF:
                attribute.i = FLOAT
        for position, name in enumerate(node.output):
            if name not in half:
                continue
            node.output[position] = f"{name}/exact"
            for source, target, kind in (("exact", "rounded", HALF), ("rounded", None, FLOAT)):
                output = f"{name}/{target}" if target else name
                written.append(helper.make_node("Cast", [f"{name}/{source}"], [output], to=kind))
    del graph.node[:]
    graph.node.extend(written)
    check_graph(result)
    return result
