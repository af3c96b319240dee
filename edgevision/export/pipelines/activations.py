"""Memory of a graph's values while it runs."""

from __future__ import annotations

import math

import onnx
from onnx import helper

from edgevision.graph.surgery import BATCH

_VIEWS = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"))
"""Operators whose output is their input in another shape."""


def activation_bytes(network: onnx.ModelProto, batch: int) -> int:
    """The largest sum of values that exist at the same time, in bytes, for a batch.

    Nodes run in the order of the graph, and a value is freed after its last reader. `network` has its weights as inputs
    or initializers; they are not counted. Engines may need more for workspace, and less by fusing nodes.
    """
    sizes = _sizes(network, batch)
    root: dict[str, str] = {}
    for node in network.graph.node:
        if node.op_type in _VIEWS:
            root[node.output[0]] = root.get(node.input[0], node.input[0])
    last: dict[str, int] = {}
    for index, node in enumerate(network.graph.node):
        for name in (*node.input, *node.output):
            last[root.get(name, name)] = index
    freed: dict[int, list[str]] = {}
    for name, index in last.items():
        freed.setdefault(index, []).append(name)
    made = {name for node in network.graph.node for name in node.output}
    held = largest = 0
    for index, node in enumerate(network.graph.node):
        held += sum(sizes.get(name, 0) for name in node.output if name not in root)
        largest = max(largest, held)
        held -= sum(sizes.get(name, 0) for name in freed.get(index, ()) if name in made)
    return largest


def _sizes(network: onnx.ModelProto, batch: int) -> dict[str, int]:
    """Bytes of every value whose shape is known."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(network)
    del fixed.graph.value_info[:]
    for value in (*fixed.graph.input, *fixed.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == BATCH:
                dim.dim_value = batch
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    found = {}
    for value in (*inferred.value_info, *inferred.output):
        tensor = value.type.tensor_type
        lengths = [dim.dim_value if dim.HasField("dim_value") else batch for dim in tensor.shape.dim]
        found[value.name] = math.prod(lengths) * helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    return found
