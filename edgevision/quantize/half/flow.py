"""Producers, readers, constants and shapes of a graph's values."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgevision.graph.macs import WEIGHTED, Shape, inferred_shapes
from edgevision.quantize.half.operators import MOVING
from edgevision.quantize.signedness import DEQUANTIZE


class Flow:
    """A read-only view of the nodes of one graph, by index."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer = {name: index for index, node in enumerate(self.nodes) for name in node.output}
        self.readers: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in node.input:
                self.readers.setdefault(name, []).append(index)
        self.shapes: dict[str, Shape] = inferred_shapes(model)

    def before(self, index: int) -> list[int]:
        """The nodes whose values the node reads."""
        return [self.producer[name] for name in self.nodes[index].input if name in self.producer]

    def after(self, index: int) -> list[int]:
        """The nodes that read the node's values."""
        return [reader for name in self.nodes[index].output for reader in self.readers.get(name, ())]

    def upstream(self, starts: Iterable[int], enter: Callable[[int], bool]) -> set[int]:
        """`starts` and all nodes before them that are reached through nodes that `enter` accepts."""
        return _reached(starts, self.before, enter)

    def downstream(self, starts: Iterable[int], enter: Callable[[int], bool]) -> set[int]:
        """`starts` and all nodes after them that are reached through nodes that `enter` accepts."""
        return _reached(starts, self.after, enter)

    def moves(self, index: int) -> bool:
        """True if the node changes no value."""
        return self.nodes[index].op_type in MOVING

    def weighted(self, index: int) -> bool:
        """True if the node multiplies with a stored weight, or with one that is dequantized."""
        node = self.nodes[index]
        if node.op_type not in WEIGHTED:
            return False
        sources = [self.nodes[source] for source in self.before(index)]
        dequantized = {source.input[0] for source in sources if source.op_type == DEQUANTIZE}
        return any(name in self.stored for name in (*node.input, *dequantized))

    def constant(self, name: str) -> npt.NDArray[np.generic] | None:
        """The stored value of that name."""
        tensor = self.stored.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)


def _reached(
    starts: Iterable[int], neighbours: Callable[[int], list[int]], enter: Callable[[int], bool]
) -> set[int]:
    found = set(starts)
    waiting = list(found)
    while waiting:
        for index in neighbours(waiting.pop()):
            if index not in found and enter(index):
                found.add(index)
                waiting.append(index)
    return found
