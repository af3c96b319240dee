"""Assigns the nodes of a graph to the operations that an engine runs.

An engine fuses nodes, removes some, and adds operations of its own. Each operation is anchored at the nodes that it
names, or whose outputs it returns. It also computes the nodes before its anchors that no other operation computes, and
after them the sum and the activation that it reports as fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgevision.engines.profiles.graph import Graph, Node

ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Clip", "HardSwish", "Elu")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of an engine, as far as it identifies nodes."""

    names: tuple[str, ...]
    """Names of nodes or values of the graph, or longer names that begin with one."""
    returns: tuple[str, ...] = ()
    """Values of the graph that it returns."""
    adds: bool = False
    """True if the sum after its anchor is fused into it."""
    activates: bool = False
    """True if the activation after its anchor is fused into it."""
    moves: bool = False
    """True if it only reorders memory, so that another operation computes the nodes that it names."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """The nodes of one operation."""

    nodes: tuple[str, ...]
    """In the graph's order."""
    near: str
    """The node that the operation names, if another operation computes it."""


def assign(graph: Graph, operations: Sequence[Operation]) -> tuple[Assigned, ...]:
    """The nodes of each operation; constant nodes belong to none, every other node to at most one."""
    owners = _Owners(graph, len(operations))
    for place, operation in enumerate(operations):
        owners.anchor(place, operation, [owners.named(name) for name in operation.names])
    for place, operation in enumerate(operations):
        owners.anchor(place, operation, [owners.named(value) for value in operation.returns])
    for place, operation in enumerate(operations):
        owners.anchor(place, operation, [owners.beginning(name) for name in operation.names])
    for place, operation in enumerate(operations):
        owners.follow(place, operation)
    for place in range(len(operations)):
        owners.reach_back(place)
    owners.give_rest()
    return owners.assigned()


class _Owners:
    """The operation that computes each node."""

    def __init__(self, graph: Graph, count: int) -> None:
        self._graph = graph
        self._owner: dict[str, int] = {}
        self._near = [""] * count
        self._nodes = {node.name: node for node in graph.nodes if node.name not in graph.constant}
        known = {value: node for value, node in graph.makers.items() if node.name in self._nodes}
        self._named: dict[str, Node] = {**known, **self._nodes}

    def anchor(self, place: int, operation: Operation, nodes: Sequence[Node | None]) -> None:
        """Claim these nodes; the first of those that another operation has is near."""
        for node in nodes:
            if node is None:
                continue
            taken = self._owner.get(node.name, place) != place
            if not taken and not operation.moves:
                self._owner[node.name] = place
            elif not self._near[place]:
                self._near[place] = node.name

    def named(self, name: str) -> Node | None:
        """The node or value of this name."""
        return self._named.get(name)

    def beginning(self, name: str) -> Node | None:
        """The node or value with the longest name that this longer one begins with."""
        for end in range(len(name) - 1, 0, -1):
            if name[:end] in self._named and not name[end].isalnum():
                return self._named[name[:end]]
        return None

    def follow(self, place: int, operation: Operation) -> None:
        """Claim the sum and the activation that are fused into an operation."""
        waiting = [name for name, owner in self._owner.items() if owner == place]
        for fused, kinds in ((operation.adds, ("Add", "Sum")), (operation.activates, ACTIVATIONS)):
            if not fused or any(self._nodes[name].op_type in kinds for name in waiting):
                continue
            after = [one for name in waiting for one in self._graph.after(self._nodes[name])]
            fitting = [node.name for node in after if node.op_type in kinds]
            waiting += [name for name in fitting if self._owner.setdefault(name, place) == place]

    def reach_back(self, place: int) -> None:
        """Claim the nodes before an operation's anchors that nothing else computes."""
        waiting = [name for name, owner in self._owner.items() if owner == place]
        while waiting:
            for node in self._graph.before(self._nodes[waiting.pop()]):
                if node.name not in self._owner:
                    self._owner[node.name] = place
                    waiting.append(node.name)

    def give_rest(self) -> None:
        """Give each node that is left to the operation that computes its first input."""
        for node in self._nodes.values():
            if node.name not in self._owner:
                owners = [
                    self._owner[one.name] for one in self._graph.before(node) if one.name in self._owner
                ]
                if owners:
                    self._owner[node.name] = owners[0]

    def assigned(self) -> tuple[Assigned, ...]:
        """The result, by operation."""
        found: list[list[str]] = [[] for _ in self._near]
        for name in self._nodes:
            if name in self._owner:
                found[self._owner[name]].append(name)
        return tuple(
            Assigned(tuple(names), "" if names else near)
            for names, near in zip(found, self._near, strict=True)
        )
