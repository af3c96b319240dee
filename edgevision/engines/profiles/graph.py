"""Reads the nodes and weights of a serialized ONNX graph without the onnx package."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgevision.engines.protobuf import Field, fields, numbers
from edgevision.errors import GraphError

_MODEL_GRAPH = 7
_NODE, _INITIALIZER, _OUTPUT = 1, 5, 12
_INPUTS, _OUTPUTS, _NAME, _KIND, _ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TENSOR, _ATTRIBUTE_INTS = 1, 3, 5, 8
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _VALUE_NAME = 1, 2, 8, 1
ELEMENT_BYTES = {
    1: 4,
    2: 1,
    3: 1,
    4: 2,
    5: 2,
    6: 4,
    7: 8,
    9: 1,
    10: 2,
    11: 8,
    12: 4,
    13: 8,
    16: 2,
    17: 1,
    19: 1,
}
"""Bytes of one element, by ``TensorProto.DataType``."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Shape and element size of a value."""

    shape: tuple[int, ...]
    element_bytes: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return self.elements * self.element_bytes


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a graph; the fields have the names of ``NodeProto``."""

    name: str
    """Never empty: a node without a name gets its operator and place."""
    op_type: str
    input: tuple[str, ...]
    output: tuple[str, ...]
    attributes: Mapping[str, tuple[int, ...]]
    """Integers of each attribute; empty for attributes of other types."""


class Graph:
    """Nodes in their order, stored weights, and who makes and reads each value."""

    def __init__(
        self, nodes: tuple[Node, ...], stored: Mapping[str, Tensor], outputs: tuple[str, ...]
    ) -> None:
        self.nodes = nodes
        self.stored = stored
        self.outputs = outputs
        self.makers = {value: node for node in nodes for value in node.output if value}
        self.readers: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            for value in node.input:
                self.readers[value].append(node)
        self.constant = _constant(nodes, stored)
        """Names of nodes that depend on no input of the graph."""

    def before(self, node: Node) -> list[Node]:
        """The nodes that make a node's inputs, without those that are constant."""
        made = [self.makers[value] for value in node.input if value in self.makers]
        return [one for one in made if one.name not in self.constant]

    def after(self, node: Node) -> list[Node]:
        """The nodes that read a node's outputs."""
        return [reader for value in node.output for reader in self.readers.get(value, ())]


def read_graph(model: bytes | Path) -> Graph:
    """Read a serialized model; raises `GraphError` if it is damaged."""
    try:
        data = model.read_bytes() if isinstance(model, Path) else model
        entries = [
            entry for part in fields(data) if part.number == _MODEL_GRAPH for entry in fields(part.content)
        ]
        nodes = [_node(entry, place) for place, entry in enumerate(e for e in entries if e.number == _NODE)]
        stored = dict(_tensor(entry) for entry in entries if entry.number == _INITIALIZER)
        for entry in entries:
            stored |= _constant_value(entry) if entry.number == _NODE else {}
        outputs = tuple(_text(entry, _VALUE_NAME) for entry in entries if entry.number == _OUTPUT)
    except (OSError, ValueError) as error:
        raise GraphError(f"cannot read the nodes of the graph: {error}") from error
    return Graph(tuple(nodes), stored, outputs)


def _node(entry: Field, place: int) -> Node:
    parts = list(fields(entry.content))

    def texts(number: int) -> tuple[str, ...]:
        return tuple(bytes(part.content).decode() for part in parts if part.number == number)

    kind = "".join(texts(_KIND))
    attributes = {
        _text(part, _ATTRIBUTE_NAME): tuple(
            numbers(p for p in fields(part.content) if p.number in (_ATTRIBUTE_INTS, _ATTRIBUTE_INT))
        )
        for part in parts
        if part.number == _ATTRIBUTE
    }
    name = "".join(texts(_NAME)) or f"{kind}_{place}"
    return Node(name, kind, texts(_INPUTS), texts(_OUTPUTS), attributes)


def _tensor(entry: Field) -> tuple[str, Tensor]:
    parts = list(fields(entry.content))
    kind = next((part.value for part in parts if part.number == _TENSOR_TYPE), 0)
    dims = numbers(part for part in parts if part.number == _TENSOR_DIMS)
    return _text(entry, _TENSOR_NAME), Tensor(tuple(dims), ELEMENT_BYTES.get(kind, 0))


def _constant_value(entry: Field) -> dict[str, Tensor]:
    """The tensor of a ``Constant`` node, by the name of its output; empty for other nodes."""
    if _text(entry, _KIND) != "Constant":
        return {}
    tensors = [
        part
        for attribute in fields(entry.content)
        if attribute.number == _ATTRIBUTE
        for part in fields(attribute.content)
        if part.number == _ATTRIBUTE_TENSOR
    ]
    return {_text(entry, _OUTPUTS): _tensor(part)[1] for part in tensors}


def _text(entry: Field, number: int) -> str:
    found = (bytes(part.content).decode() for part in fields(entry.content) if part.number == number)
    return next(found, "")


def _constant(nodes: tuple[Node, ...], stored: Mapping[str, Tensor]) -> set[str]:
    known = set(stored)
    names = set()
    for node in nodes:
        if node.op_type == "Constant" or (node.input and all(not v or v in known for v in node.input)):
            known.update(node.output)
            names.add(node.name)
    return names
