"""The devices of a fleet: nodes of a Ray cluster with a board as their custom resource."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgevision.errors import UsageError

_RAYS_OWN = ("CPU", "GPU", "memory", "object_store_memory", "node:", "accelerator_type:")
"""Beginnings of the resources that Ray adds itself."""


@dataclass(frozen=True, slots=True)
class Device:
    """One node."""

    name: str
    """Board, and the first characters of the node's id."""
    node_id: str
    board: str
    cpus: float
    gpus: float


def devices_of(nodes: Iterable[Mapping[str, Any]], board: str | None = None) -> tuple[Device, ...]:
    """The living nodes that have a board, or this board; `nodes` as ``ray.nodes()`` lists them.

    Raises `UsageError` if there is none.
    """
    found, boards = [], set()
    for node in nodes:
        resources = node.get("Resources", {})
        own = sorted(name for name in resources if not name.startswith(_RAYS_OWN))
        boards.update(own)
        if not node.get("Alive") or not own or (board is not None and board not in own):
            continue
        chosen = board or own[0]
        node_id = str(node["NodeID"])
        cpus, gpus = float(resources.get("CPU", 0)), float(resources.get("GPU", 0))
        found.append(Device(f"{chosen}-{node_id[:8]}", node_id, chosen, cpus, gpus))
    if not found:
        known = ", ".join(sorted(boards)) or "none"
        raise UsageError(
            f"no device with {'a board' if board is None else f'the board {board}'} in this cluster; boards: {known}."
            " Start each device with its board: ray start --address=HEAD:6379 --resources='{\"orin-nano\": 1}'"
        )
    return tuple(sorted(found, key=lambda device: device.name))
