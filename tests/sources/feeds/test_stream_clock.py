"""Capture times from stamps: queues show, constant delays show by the camera's clock alone, and only if it is set."""

from __future__ import annotations

import pytest

from edgevision.sources.feeds.stream_clock import WINDOW_NS, SlidingMinimum, StreamClock

MS = 1_000_000
SECOND = 1_000_000_000


def test_the_least_of_the_last_windows() -> None:
    least = SlidingMinimum()
    assert [least.add(value, 0) for value in (5, 3, 9)] == [5, 3, 3]
    assert least.add(8, WINDOW_NS) == 3
    assert least.add(7, 2 * WINDOW_NS) == 7


def test_a_jump_restarts_the_minimum() -> None:
    least = SlidingMinimum()
    least.add(5 * SECOND, 0)
    assert least.add(60 * SECOND, 1) == 60 * SECOND


def test_a_frame_that_waited_in_a_queue_is_that_much_older() -> None:
    clock = StreamClock()
    late_ms = [20, 20, 350, 20]
    stamps = [number * 100 * MS for number in range(4)]
    found = []
    for stamp, late in zip(stamps, late_ms, strict=True):
        arrived = 7 * SECOND + stamp + late * MS
        clock.packet(stamp, arrived, 1000.0, None)
        captured, kind = clock.captured(stamp, arrived)
        assert kind == "stream"
        found.append((arrived - captured) // MS)
    # The least delay, 20 ms, cannot be seen without the camera's clock.
    assert found == [0, 0, 330, 0]


@pytest.mark.parametrize(
    ("ahead_s", "kind", "age_ms"),
    [
        (0.0, "camera", 80),
        (-0.5, "camera", 580),
        (0.1, "camera", 0),
        (0.2, "stream", 0),
        (-3600.0, "stream", 0),
    ],
    ids=["set", "half a second slow", "a little fast", "fast", "an hour slow"],
)
def test_a_plausible_camera_clock_is_used(ahead_s: float, kind: str, age_ms: int) -> None:
    clock = StreamClock()
    arrived, stamp = 50 * SECOND, 3 * SECOND
    clock.packet(stamp, arrived, 1_700_000_000.08, 1_700_000_000.0 + ahead_s)
    captured, found = clock.captured(stamp, arrived)
    assert found == kind
    assert (arrived - captured) / MS == pytest.approx(age_ms, abs=0.01)


def test_no_capture_time_is_after_arrival() -> None:
    clock = StreamClock()
    clock.packet(0, SECOND, 1000.0, None)
    assert clock.captured(5 * SECOND, 2 * SECOND) == (2 * SECOND, "stream")
