"""Divides a finished graph into parts by the names of its nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from edgevision.engines.extra_outputs import CANDIDATES

PARTS = ("pre-processing", "network", "decoding", "top-k", "nms", "compaction")
"""Top-k: the selections before NMS; compaction: the last selection and everything after it."""
PRE, NETWORK, DECODING, TOP_K, NMS, COMPACTION = PARTS
POST = PARTS[2:]
"""The parts of post-processing."""


class GraphNode(Protocol):
    """A node as `edgevision.engines.profiles.graph` reads it, or a ``NodeProto``."""

    @property
    def name(self) -> str:
        """Name in the graph."""

    @property
    def op_type(self) -> str:
        """Operator."""

    @property
    def input(self) -> Sequence[str]:
        """Names of the values that it reads."""

    @property
    def output(self) -> Sequence[str]:
        """Names of the values that it makes."""


def parts_of(nodes: Sequence[GraphNode]) -> dict[str, str]:
    """The part of each node by its name. Without NMS of ours, what stands before compaction is decoding or top-k."""
    makers = {name: node for node in nodes for name in node.output}
    readers: dict[str, list[GraphNode]] = defaultdict(list)
    for node in nodes:
        for name in node.input:
            readers[name].append(node)
    after = [node for node in nodes if node.name.startswith("post/")]
    before_nms = _reached((makers[name] for name in CANDIDATES if name in makers), makers, readers, back=True)
    last = [node for node in after if node.op_type == "TopK"][-1:]
    compaction = _reached(last, makers, readers, back=False)
    parts = {}
    for node in nodes:
        if node.name.startswith("pre/"):
            parts[node.name] = PRE
        elif not node.name.startswith("post/"):
            parts[node.name] = NETWORK
        elif node.name in compaction:
            parts[node.name] = COMPACTION
        elif node.name in before_nms or not before_nms:
            parts[node.name] = TOP_K if node.op_type == "TopK" else DECODING
        else:
            parts[node.name] = NMS
    return parts


def _reached(
    nodes: Iterable[GraphNode],
    makers: Mapping[str, GraphNode],
    readers: Mapping[str, list[GraphNode]],
    *,
    back: bool,
) -> set[str]:
    """Names of these nodes and of all before them in post-processing (`back`), or after them."""
    seen: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.name in seen or not node.name.startswith("post/"):
            continue
        seen.add(node.name)
        if back:
            waiting += [makers[name] for name in node.input if name in makers]
        else:
            waiting += [reader for name in node.output for reader in readers.get(name, ())]
    return seen
