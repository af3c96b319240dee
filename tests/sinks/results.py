"""Frames with results, for sinks to write."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from edgevision.analytics.counting import AnalyticsEvent
from edgevision.analytics.observation import Observation
from edgevision.contract.results import Detections, Result
from edgevision.sinks.frame_result import FrameResult, StageTimes
from edgevision.sources.frames import SourceFrame

FOUND = Detections(
    np.array([[1.25, 2.5, 30.123, 40.0]], np.float32),
    np.array([0.87654321], np.float32),
    np.array([1], np.int32),
    ("person", "bus"),
)


def processed(
    index: int = 0,
    *,
    source: str = "a.jpg",
    result: Result = FOUND,
    captured_ns: int = 0,
    position_s: float | None = None,
    size_wh: tuple[int, int] = (64, 48),
) -> FrameResult:
    image = np.full((size_wh[1], size_wh[0], 3), 20 * index % 256, np.uint8)
    frame = SourceFrame(image, index, source, captured_ns, 1_700_000_000.123456789, position_s, 1_500_000)
    return FrameResult(frame, result, StageTimes(1_500_000, 500_000, 30_000_000, 100_000), 33.3333333)


CROSSED = AnalyticsEvent("crossed", "door", 7, 0, 5.0, "in")


def eventful(
    index: int = 0,
    *events: AnalyticsEvent,
    source: str = "yard",
    captured_at: float = 1_700_000_000.123456,
    captured_ns: int | None = None,
) -> FrameResult:
    """A frame of a camera in which one person crossed a line, or `events` happened."""
    frame_ns = time.perf_counter_ns() if captured_ns is None else captured_ns
    frame = SourceFrame(
        np.full((48, 64, 3), 90, np.uint8), index, source, frame_ns, captured_at, None, 1000, "camera"
    )
    person = Detections(
        np.array([[10, 10, 30, 40]], np.float32),
        np.array([0.9], np.float32),
        np.zeros(1, np.int32),
        FOUND.classes,
    )
    observation = Observation(np.array([7]), events or (CROSSED,), (), (), (), (64, 48), 5.5)
    return FrameResult(frame, person, StageTimes(1000, 1000, 1000, 1000), 12.5, observation)


def fresh(index: int = 0, *, source: str = "yard") -> FrameResult:
    """A frame of a camera, taken now, in which nothing happened."""
    return processed(index, source=source, captured_ns=time.perf_counter_ns())


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """True as soon as the condition holds; False if it does not by then."""
    end_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.005)
    return True
