"""A second FP16 graph with more operations in FP32, if the first fails verification."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from edgevision.contract.spec import BatchRange
from edgevision.export.half import _attempts
from tests.quantize.pixel_networks import frames, network
from tests.quantize.query_networks import query_network


def attempts(model: Any) -> list[set[str]]:
    """The nodes in FP16 of each graph that is tried."""
    spec = SimpleNamespace(task="classify", batch=BatchRange(1, 1, 1))
    bundle, golden = SimpleNamespace(spec=spec), SimpleNamespace(inputs=frames(2))
    return [set(half.half) for half in _attempts(cast(Any, bundle), model, cast(Any, golden))]


def test_the_second_graph_keeps_every_sensitive_operation_in_float() -> None:
    first, second = attempts(query_network())
    assert {"squared", "tokens", "all_boxes", "refined"} <= first
    assert {"squared", "tokens", "all_boxes", "refined"}.isdisjoint(second)
    assert {"scores", "delta", "picked"} <= second < first


def test_a_network_without_such_operations_is_tried_once() -> None:
    assert len(attempts(network(("Relu", {})))) == 1
