"""Missing frames are counted exactly."""

from __future__ import annotations

import random

import numpy as np

from edgevision.sources.feeds.gaps import GapCounter

PERIOD_NS = 40_000_000


def counted(stamps_ns: list[int]) -> int:
    counter = GapCounter()
    return sum(counter.add(stamp_ns) for stamp_ns in stamps_ns) + counter.end()


def test_a_whole_stream_misses_nothing() -> None:
    assert counted([]) == 0
    assert counted([0]) == 0
    assert counted([number * PERIOD_NS for number in range(500)]) == 0


def test_missing_frames_are_counted_wherever_they_are() -> None:
    chance = random.Random(3)
    for _ in range(20):
        gone = set(chance.sample(range(1, 299), 25))
        stamps = [number * PERIOD_NS for number in range(300) if number not in gone]
        assert counted(stamps) == 25


def test_jitter_is_not_counted_as_missing_frames() -> None:
    noise = np.random.default_rng(5).uniform(-0.2, 0.2, 400)
    stamps = [
        int((number + noise[number]) * PERIOD_NS) for number in range(400) if number not in (7, 200, 201)
    ]
    assert counted(stamps) == 3


def test_a_lower_frame_rate_in_the_dark_is_not_counted_as_missing_frames() -> None:
    day = [number * PERIOD_NS for number in range(100)]
    night = [day[-1] + number * 2 * PERIOD_NS for number in range(1, 100)]
    morning = [night[-1] + number * PERIOD_NS for number in range(1, 100)]
    assert counted(day + night + morning) == 0


def test_a_clock_that_is_set_begins_a_new_count() -> None:
    stamps = [number * PERIOD_NS for number in range(60) if number != 50]
    later = [10**12 + number * PERIOD_NS for number in range(60) if number != 5]
    assert counted(stamps + later) == 2
    assert counted(later + stamps) == 2


def test_a_few_frames_do_not_determine_the_period() -> None:
    assert counted([0, PERIOD_NS, 9 * PERIOD_NS]) == 0


def test_missing_frames_are_counted_while_frames_arrive() -> None:
    counter = GapCounter()
    found = [counter.add(number * PERIOD_NS) for number in range(60) if number != 10]
    assert sum(found) == 1
    assert counter.end() == 0
