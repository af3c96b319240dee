"""Nodes with a board are devices."""

from __future__ import annotations

from typing import Any

import pytest

from edgevision.errors import UsageError
from edgevision.fleet.devices import Device, devices_of


def node(name: str, resources: dict[str, float] | None = None, *, alive: bool = True) -> dict[str, Any]:
    known = {"CPU": 4.0, "memory": 1e9, "object_store_memory": 1e9, "node:192.0.2.1": 1.0}
    return {"NodeID": name * 8, "Alive": alive, "Resources": {**known, **(resources or {})}}


NODES = [
    node("c", {"orin": 1.0, "GPU": 1.0}),
    node("a", {"nano": 2.0, "accelerator_type:T4": 1.0}),
    node("d", {"nano": 1.0}, alive=False),
    node("e"),
]


def test_living_nodes_with_a_board_are_devices() -> None:
    nano, orin = (
        Device("nano-aaaaaaaa", "a" * 8, "nano", 4.0, 0.0),
        Device("orin-cccccccc", "c" * 8, "orin", 4.0, 1.0),
    )
    assert devices_of(NODES) == (nano, orin)
    assert devices_of(NODES, "orin") == (orin,)


@pytest.mark.parametrize(
    ("board", "message"), [("xavier", "boards: nano, orin.*ray start"), (None, "boards: none")]
)
def test_a_fleet_without_devices_is_an_error(board: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        devices_of(NODES if board else [node("e")], board)
