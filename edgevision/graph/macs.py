"""Counts the multiply-accumulate operations of a graph's weighted nodes."""

from __future__ import annotations

import math

import onnx

from edgevision.errors import GraphError

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that multiply with stored weights."""

Shape = tuple[int | None, ...]


def macs_of_weighted_nodes(model: onnx.ModelProto) -> dict[str, int]:
    """Multiply-accumulates for one frame, by node name, of every node of `WEIGHTED` with stored weights.

    Nodes of pre- and post-processing (``pre/``, ``post/``) are not counted. Raises `GraphError` if a shape cannot be
    inferred.
    """
    shapes = inferred_shapes(model)
    stored = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return {
        node.name: macs_of_node(node, stored[node.input[1]], shapes)
        for node in model.graph.node
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in stored
        if not node.name.startswith(("pre/", "post/"))
    }


def inferred_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The shape of every value; None for an unknown length, such as a dynamic batch."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
        for value in (*graph.value_info, *graph.input, *graph.output)
        for dims in (value.type.tensor_type.shape.dim,)
    }


def macs_of_node(node: onnx.NodeProto, weights: tuple[int, ...], shapes: dict[str, Shape]) -> int:
    """Multiply-accumulates of one node for one frame, from the shape of its weights.

    Each output element of a convolution is a sum over kernel and input channels; ConvTranspose swaps the two. Raises
    `GraphError` if a shape is unknown.
    """
    read = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
    elements = _elements_of_a_frame(node, read, shapes)
    if node.op_type in ("Conv", "ConvTranspose"):
        return elements * math.prod(weights[1:])
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    transposed = node.op_type == "Gemm" and attributes.get("transB", 0)
    return elements * (weights[-1] if transposed or len(weights) == 1 else weights[-2])


def _elements_of_a_frame(node: onnx.NodeProto, name: str, shapes: dict[str, Shape]) -> int:
    lengths = shapes.get(name, (None, None))[1:]
    known = [length for length in lengths if length is not None]
    if len(known) != len(lengths):
        raise GraphError(f"the shape of {name}, which is needed for {node.name}, cannot be inferred")
    return math.prod(known)
