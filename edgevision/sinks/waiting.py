"""Queue of results for a sink."""

from __future__ import annotations

from collections import deque

from edgevision.contract.pixels import FramePixels
from edgevision.contract.results import (
    Classification,
    Instances,
    OrientedBoxes,
    Poses,
    Segmentation,
    Translation,
)
from edgevision.sinks.frame_result import FrameResult


class WaitingResults:
    """A queue with limits on results and bytes, for one thread at a time.

    A full queue drops its oldest results, because a receiver that reconnects needs the current state. Results with
    events are dropped last, because the next frame does not repeat an event.
    """

    def __init__(self, capacity: int, max_bytes: int) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._plain: deque[tuple[int, int, FrameResult]] = deque()
        """Number, bytes and result; `_events` is the same for results with events."""
        self._events: deque[tuple[int, int, FrameResult]] = deque()
        self._bytes = 0
        self._count = 0

    def __len__(self) -> int:
        return len(self._plain) + len(self._events)

    def put(self, processed: FrameResult) -> int:
        """Add a result and return the number of dropped ones. A single result of any size is accepted."""
        size = held_bytes(processed)
        row = self._events if has_events(processed) else self._plain
        row.append((self._count, size, processed))
        self._count += 1
        self._bytes += size
        dropped = 0
        while len(self) > 1 and (len(self) > self._capacity or self._bytes > self._max_bytes):
            # The newest plain result is dropped too if all others have events.
            _, size, _ = (self._plain or self._events).popleft()
            self._bytes -= size
            dropped += 1
        return dropped

    def take(self, count: int) -> list[FrameResult]:
        """The oldest results, in order."""
        taken: list[FrameResult] = []
        while len(taken) < count and len(self):
            rows = [row for row in (self._plain, self._events) if row]
            _, size, processed = min(rows, key=lambda row: row[0][0]).popleft()
            self._bytes -= size
            taken.append(processed)
        return taken

    def clear(self) -> int:
        """Drop all results and return their number."""
        count = len(self)
        self._plain.clear()
        self._events.clear()
        self._bytes = 0
        return count


def has_events(processed: FrameResult) -> bool:
    """True if the frame has events."""
    return processed.observation is not None and bool(processed.observation.events)


def held_bytes(processed: FrameResult) -> int:
    """Memory of the image and arrays in bytes."""
    result = processed.result
    if isinstance(result, Classification):
        total = result.scores.nbytes
    elif isinstance(result, Segmentation):
        total = result.mask.nbytes
    elif isinstance(result, Translation):
        total = result.image.nbytes
    else:
        total = result.boxes.nbytes + result.scores.nbytes + result.labels.nbytes
        if isinstance(result, Instances):
            total += sum(mask.pixels.nbytes for mask in result.masks)
        elif isinstance(result, Poses):
            total += result.keypoints.nbytes
        elif isinstance(result, OrientedBoxes):
            total += result.oriented.nbytes
    pixels = processed.frame.pixels
    if isinstance(pixels, FramePixels):
        return total + pixels.nbytes
    return total + (pixels.nbytes if any(pixels.strides) else 0)
