"""Operations and bytes of nodes and of fused layers, from the shapes of their values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgevision.contract.spec import Precision
from edgevision.engines.profiles.graph import Graph, Node, Tensor

_VIEWS = ("Constant", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze")
_COPIES = (
    "Cast",
    "Concat",
    "DepthToSpace",
    "Expand",
    "Pad",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Tile",
    "Transpose",
)
_LOOK_UPS = (
    "Gather",
    "GatherElements",
    "GatherND",
    "NonZero",
    "OneHot",
    "ScatterElements",
    "ScatterND",
    "TopK",
)
MOVING = frozenset((*_VIEWS, *_COPIES, *_LOOK_UPS))
"""Operators without arithmetic. All that are not named here count as one operation for each element of their output."""
_REDUCTIONS = ("ArgMax", "ArgMin", "GlobalAveragePool", "GlobalMaxPool", "Reduce")
"""Beginnings of operators that count as one operation for each element of their input."""
_POOLS = ("AveragePool", "MaxPool")
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_HALVES = ("bf16", "fp16")


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What a layer computes and moves in one call."""

    flops: int
    """Multiplications and additions, counted separately."""
    bytes: int
    """Of all values that it reads and writes, each once; values inside a fused layer do not count."""


def node_flops(node: Node, values: Mapping[str, Tensor]) -> int | None:
    """Operations of one node; 0 for a node that only moves data, None if a shape is unknown."""
    read, made = [values.get(name) for name in node.input], values.get(next(iter(node.output), ""))
    first = read[0] if read else None
    kind = node.op_type
    if kind in MOVING:
        return 0
    if kind.startswith(_REDUCTIONS):
        return None if first is None else first.elements
    if kind not in _PRODUCTS:
        size = math.prod(node.attributes.get("kernel_shape", ())) if kind in _POOLS else 1
        return None if made is None else made.elements * size
    second = read[1] if len(read) > 1 else None
    if first is None or second is None or made is None:
        return None
    biased = made.elements if len(node.input) > 2 and node.input[2] else 0
    return 2 * _products(node, first, second, made) + biased


def _products(node: Node, first: Tensor, second: Tensor, made: Tensor) -> int:
    """Multiply-accumulates. Each output of a convolution is a sum over kernel and input channels of its group."""
    if node.op_type == "Conv":
        return made.elements * math.prod(second.shape[1:])
    if node.op_type == "ConvTranspose":
        return first.elements * math.prod(second.shape[1:])
    transposed = node.op_type == "Gemm" and node.attributes.get("transA", (0,)) == (1,)
    return made.elements * (first.shape[0] if transposed else first.shape[-1] if first.shape else 1)


def layer_cost(
    graph: Graph, nodes: Sequence[str], values: Mapping[str, Tensor], precision: Precision | None
) -> LayerCost | None:
    """The cost of nodes that are computed together; None if a shape is unknown, or without nodes.

    `values` are those of the graph without its stored weights. Float values have two bytes in bf16 and fp16.
    """
    names = set(nodes)
    inside = [node for node in graph.nodes if node.name in names]
    known = {**graph.stored, **values}
    flops = [node_flops(node, known) for node in inside]
    made = {value for node in inside for value in node.output if value}
    read = {value for node in inside for value in node.input if value} - made
    written = {
        value
        for value in made
        if value in graph.outputs or any(reader.name not in names for reader in graph.readers.get(value, ()))
    }
    tensors = [known.get(value) for value in read | written]
    if not inside or None in flops or None in tensors:
        return None
    size = sum(_bytes(tensor, precision) for tensor in tensors if tensor is not None)
    return LayerCost(sum(count or 0 for count in flops), size)


def _bytes(tensor: Tensor, precision: Precision | None) -> int:
    width = min(tensor.element_bytes, 2) if precision in _HALVES else tensor.element_bytes
    return tensor.elements * width


def main_node(graph: Graph, nodes: Sequence[str], values: Mapping[str, Tensor]) -> str:
    """The node with the most operations; the last one if none has any."""
    known = {**graph.stored, **values}
    inside = {node.name: node_flops(node, known) or 0 for node in graph.nodes if node.name in set(nodes)}
    return max(reversed(list(inside)), key=inside.__getitem__)
