"""Groups of operations that return to FP32 together in the FP16 search.

A group is a connected part of the graph with one kind of arithmetic, for example one softmax, or the inverse sigmoid of
one decoder layer. In FP32, its inner values are never rounded to FP16, and only its border has casts.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import onnx

from edgevision.graph.macs import macs_of_node
from edgevision.quantize.half.flow import Flow
from edgevision.quantize.half.operators import ELEMENTWISE, EXPONENTIALS, MOVING, NORMALIZATIONS

SENSITIVE = ("normalization", "softmax", "inverse sigmoid", "sampling positions", "boxes", "selection")
"""Kinds that cost little and often need FP32 in transformers."""
KINDS = (*SENSITIVE, "reduction", "exponential", "attention product", "layer", "other")

_ALONE = frozenset(("layer", "attention product"))
"""Kinds whose nodes are groups of their own, even next to each other."""
_COORDINATES = (2, 4)
"""Lengths of the last axis of points and boxes."""
_PARTS = frozenset(("Concat", "Split", "Expand", "Tile", "GatherElements"))


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that are FP16 or FP32 together, in the order of the graph."""

    kind: str
    nodes: tuple[str, ...]
    work: int
    """Multiply-accumulates and element operations for one frame."""

    @property
    def name(self) -> str:
        """The name of its first node, unique among the groups of a graph."""
        return self.nodes[0]


def groups_of(model: onnx.ModelProto, candidates: Collection[str]) -> tuple[Group, ...]:
    """Divide the nodes named `candidates` into groups; every node must have a unique name.

    Operators that only move values join a group that they connect, or belong to none. Nodes of ``pre/`` and ``post/``
    belong to none.
    """
    flow = Flow(model)
    wanted = {
        index
        for index, node in enumerate(flow.nodes)
        if node.name in candidates and not node.name.startswith(("pre/", "post/"))
    }
    kinds = {index: kind for index, kind in node_kinds(flow).items() if index in wanted}
    computing = set(kinds)
    kinds |= _connecting(flow, kinds, wanted)
    return tuple(
        Group(
            kinds[part[0]],
            tuple(flow.nodes[index].name for index in part),
            max(sum(node_work(flow, index) for index in part), 1),
        )
        for part in _components(flow, kinds, computing)
    )


def node_work(flow: Flow, index: int) -> int:
    """Multiply-accumulates of a product, or the number of elements that another node computes, for one frame."""
    node = flow.nodes[index]
    if node.op_type in MOVING:
        return 0
    shape = flow.shapes.get(node.output[0], ())
    elements = math.prod(length or 1 for length in shape[1:])
    if flow.weighted(index) and node.input[1] in flow.stored:
        return macs_of_node(node, tuple(flow.stored[node.input[1]].dims), flow.shapes)
    if node.op_type == "MatMul":
        return elements * ((flow.shapes.get(node.input[0], ()) or (1,))[-1] or 1)
    return elements


def work_share(model: onnx.ModelProto, nodes: Collection[str]) -> float:
    """The share of the network's work that the named nodes do; ``pre/`` and ``post/`` are not counted."""
    flow = Flow(model)
    works = {
        node.name: node_work(flow, index)
        for index, node in enumerate(flow.nodes)
        if not node.name.startswith(("pre/", "post/"))
    }
    return sum(works[name] for name in works.keys() & set(nodes)) / max(sum(works.values()), 1)


def node_kinds(flow: Flow) -> dict[int, str]:
    """The kind of every node that computes; the first that applies, in the order of `KINDS`."""
    members = {
        "normalization": _normalizations(flow),
        "softmax": _softmaxes(flow),
        "inverse sigmoid": _inverse_sigmoids(flow),
        "sampling positions": _sampling_positions(flow),
        "boxes": _boxes(flow),
        "selection": _selections(flow),
        "reduction": {i for i, n in enumerate(flow.nodes) if n.op_type.startswith("Reduce")}
        | _with(flow, "CumSum", "Mean", "Sum", "Einsum"),
        "exponential": _with(flow, *EXPONENTIALS),
        "layer": {i for i in range(len(flow.nodes)) if flow.weighted(i)},
        "attention product": _with(flow, "MatMul", "Gemm"),
    }
    found: dict[int, str] = {}
    for index, node in enumerate(flow.nodes):
        if node.op_type not in MOVING:
            found[index] = next((kind for kind, nodes in members.items() if index in nodes), "other")
    return found


def _with(flow: Flow, *operators: str) -> set[int]:
    return {index for index, node in enumerate(flow.nodes) if node.op_type in operators}


def _normalizations(flow: Flow) -> set[int]:
    """Fused operators, and normalizations as separate operators: x - mean, square, mean, epsilon, root and quotient."""
    found = _with(flow, *NORMALIZATIONS)
    for root in _with(flow, "Sqrt"):
        inner = flow.upstream([root], lambda i: flow.nodes[i].op_type in ("Add", "ReduceMean", "Pow", "Mul"))
        if not any(flow.nodes[i].op_type == "ReduceMean" for i in inner):
            continue
        centred = {i for part in inner for i in flow.before(part) if flow.nodes[i].op_type == "Sub"}
        means = {i for part in centred for i in flow.before(part) if flow.nodes[i].op_type == "ReduceMean"}
        quotients = {i for i in flow.after(root) if flow.nodes[i].op_type in ("Div", "Reciprocal", "Mul")}
        found |= inner | centred | means | quotients
    return found


def _softmaxes(flow: Flow) -> set[int]:
    """Each softmax with its logits: masks, scales, and the product of queries and keys."""
    found: set[int] = set()
    for softmax in _with(flow, "Softmax", "LogSoftmax"):
        chain = flow.upstream(
            [softmax], lambda i: flow.moves(i) or flow.nodes[i].op_type in ("Add", "Mul", "Div")
        )
        products = {i for step in chain for i in flow.before(step) if flow.nodes[i].op_type == "MatMul"}
        products = {i for i in products if not flow.weighted(i)}
        found |= chain | products if products else {softmax}
    return found


def _inverse_sigmoids(flow: Flow) -> set[int]:
    """Each logarithm of a quotient or difference, with the arithmetic before it."""
    found: set[int] = set()
    for logarithm in _with(flow, "Log"):
        chain = flow.upstream(
            [logarithm], lambda i: flow.moves(i) or flow.nodes[i].op_type in (*ELEMENTWISE, "Split")
        )
        if any(flow.nodes[i].op_type in ("Div", "Sub") for i in chain):
            found |= chain
    return found


def _sampling_positions(flow: Flow) -> set[int]:
    """The arithmetic that makes the positions of each GridSample from offsets and reference points."""
    grids = {
        flow.producer[flow.nodes[i].input[1]]
        for i in _with(flow, "GridSample")
        if flow.nodes[i].input[1] in flow.producer
    }

    def arithmetic(index: int) -> bool:
        return flow.moves(index) or flow.nodes[index].op_type in (ELEMENTWISE | _PARTS)

    return flow.upstream([i for i in grids if arithmetic(i)], arithmetic)


def _boxes(flow: Flow) -> set[int]:
    """Arithmetic on points and boxes: refinement, sigmoid, distances to edges."""
    operators = ELEMENTWISE | _PARTS | {"Sigmoid", "Exp"}

    def coordinates(index: int) -> bool:
        shape = flow.shapes.get(flow.nodes[index].output[0], ())
        return len(shape) >= 3 and shape[-1] in _COORDINATES

    return {i for i in range(len(flow.nodes)) if flow.nodes[i].op_type in operators and coordinates(i)}


def _selections(flow: Flow) -> set[int]:
    """Scores between the last layer and each TopK."""
    starts = [i for top in _with(flow, "TopK") for i in flow.before(top)]

    def scores(index: int) -> bool:
        return flow.nodes[index].op_type in (*ELEMENTWISE, "Sigmoid", "ReduceMax", "Max") or flow.moves(index)

    return flow.upstream([i for i in starts if scores(i)], scores)


def _connecting(flow: Flow, kinds: dict[int, str], wanted: set[int]) -> dict[int, str]:
    """The kinds of nodes that only move values between nodes of one kind."""
    found: dict[int, str] = {}
    for index in sorted(wanted - set(kinds)):
        sources = {kinds.get(i) or found.get(i) for i in flow.before(index)}
        kind = next(iter(sources)) if len(sources) == 1 else None
        moved = flow.downstream([index], lambda i: i in wanted and flow.moves(i))
        if kind and kind not in _ALONE and any(kinds.get(i) == kind for m in moved for i in flow.after(m)):
            found[index] = kind
    return found


def _components(flow: Flow, kinds: dict[int, str], computing: set[int]) -> list[list[int]]:
    """Connected nodes of one kind, by their first node."""
    seen: set[int] = set()
    parts = []
    for start in sorted(computing):
        if start in seen:
            continue
        kind = kinds[start]
        part, waiting = {start}, [start]
        while waiting and kind not in _ALONE:
            index = waiting.pop()
            near = [i for i in (*flow.before(index), *flow.after(index)) if kinds.get(i) == kind]
            waiting += [i for i in near if i not in part]
            part.update(near)
        seen |= part
        parts.append(sorted(part))
    return parts
