"""What `profile_check` accepts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.profile_check import checked
from edgevision.benchmark.layers.record import ProfileRecord
from edgevision.benchmark.packed import PackedSamples
from tests.benchmark.layers.test_run import planted


def taking(call_ms: float) -> ProfileRecord:
    """A profile whose layers take 3.5 ms in the median call."""
    calls = PackedSamples.of([round(value * 1e6) for value in (call_ms, call_ms, 99.0)])
    return replace(planted(), calls=calls)


@pytest.mark.parametrize(("call_ms", "complete"), [(3.0, False), (3.3, True), (3.8, True), (4.0, False)])
def test_layers_must_explain_the_time_of_their_calls(call_ms: float, complete: bool) -> None:
    assert checked([taking(call_ms)]).complete is complete


def test_one_run_that_misses_is_enough() -> None:
    assert checked([taking(3.3), taking(3.8)]).complete
    assert not checked([taking(3.3), taking(4.0)]).complete


def test_the_most_expensive_layers_may_change_places_only() -> None:
    record = planted()
    cheap = replace(record.layers[1], name="cheap", ms=0.1)
    base = replace(record, layers=(*record.layers, cheap))
    swapped = replace(base, layers=(*(replace(one, ms=5 - one.ms) for one in record.layers), cheap))
    assert checked([base, swapped]).first == (
        ("Conv a", "Conv c", "Reorder"),
        ("Reorder", "Conv c", "Conv a"),
    )
    assert checked([base, swapped]).repeated
    other = replace(base, layers=(*record.layers, replace(cheap, ms=9.0)))
    assert not checked([base, other]).repeated
