"""Items dropped first from a full queue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevision.contract.results import Instances, Mask, Segmentation
from edgevision.sinks.sink import without_image
from edgevision.sinks.waiting import WaitingResults, held_bytes
from tests.sinks.results import eventful, processed


def indices(waiting: WaitingResults) -> list[int]:
    return [each.frame.index for each in waiting.take(100)]


def test_results_leave_in_their_order() -> None:
    waiting = WaitingResults(10, 10**9)
    for number in range(6):
        assert waiting.put(eventful(number) if number % 2 else processed(number)) == 0
    assert [each.frame.index for each in waiting.take(2)] == [0, 1]
    assert len(waiting) == 4
    assert indices(waiting) == [2, 3, 4, 5]
    assert waiting.take(1) == []


@pytest.mark.parametrize(
    ("eventful_ones", "left"),
    [((), [3, 4, 5]), ((0,), [0, 4, 5]), ((0, 1, 2), [0, 1, 2]), (range(6), [3, 4, 5])],
    ids=["the oldest go", "events stay", "nothing comes before events", "the oldest events go"],
)
def test_a_full_queue_drops_the_oldest_and_events_last(
    eventful_ones: tuple[int, ...], left: list[int]
) -> None:
    waiting = WaitingResults(3, 10**9)
    dropped = [waiting.put(eventful(n) if n in eventful_ones else processed(n)) for n in range(6)]
    assert sum(dropped) == 3
    assert indices(waiting) == left


def test_memory_is_bounded_too() -> None:
    size = held_bytes(processed())
    waiting = WaitingResults(1000, 5 * size)
    assert sum(waiting.put(processed(n)) for n in range(20)) == 15
    assert waiting.put(processed(99, size_wh=(640, 480))) == 5
    assert indices(waiting) == [99]
    assert waiting.put(processed()) == 0
    assert waiting.clear() == 1
    assert len(waiting) == 0


def test_bytes_are_those_of_the_image_and_the_arrays() -> None:
    plain = processed()
    arrays = 16 + 4 + 4
    assert held_bytes(plain) == 64 * 48 * 3 + arrays
    assert held_bytes(without_image(plain)) == arrays
    mask = replace(plain, result=Segmentation(np.zeros((48, 64), np.uint8)))
    assert held_bytes(without_image(mask)) == 48 * 64
    thing = Mask(0, 0, np.ones((5, 4), np.bool_))
    found = plain.result
    one = Instances(found.boxes, found.scores, found.labels, (), (thing,))  # type: ignore[union-attr]  # detections
    assert held_bytes(without_image(replace(plain, result=one))) == arrays + 20
