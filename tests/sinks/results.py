"""Frames with results, for sinks to write."""

from __future__ import annotations

import numpy as np

from edgevision.frames import SourceFrame
from edgevision.processed import Processed, StageTimes
from edgevision.results import Detections, Result

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
) -> Processed:
    image = np.full((size_wh[1], size_wh[0], 3), 20 * index % 256, np.uint8)
    frame = SourceFrame(image, index, source, captured_ns, 1_700_000_000.123456789, position_s, 1_500_000)
    return Processed(frame, result, StageTimes(1_500_000, 500_000, 30_000_000, 100_000), 33.3333333)
