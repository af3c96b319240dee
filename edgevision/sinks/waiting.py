"""Results that wait to be written."""

from __future__ import annotations

from collections import deque

from edgevision.contract.results import Classification, Instances, Segmentation
from edgevision.sinks.frame_result import FrameResult


class WaitingResults:
    """A queue of so many results and bytes at most, for one thread at a time.

    When it is full the oldest results are dropped: those who come back want to know how things stand. Results with an
    event go last, for an event is not told again by the next frame.
    """

    def __init__(self, capacity: int, max_bytes: int) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._plain: deque[tuple[int, int, FrameResult]] = deque()
        """Number, bytes, result; the same for those with events."""
        self._events: deque[tuple[int, int, FrameResult]] = deque()
        self._bytes = 0
        self._count = 0

    def __len__(self) -> int:
        return len(self._plain) + len(self._events)

    def put(self, processed: FrameResult) -> int:
        """Add one; how many were dropped for it. A single one is taken however large it is."""
        size = held_bytes(processed)
        row = self._events if has_events(processed) else self._plain
        row.append((self._count, size, processed))
        self._count += 1
        self._bytes += size
        dropped = 0
        while len(self) > 1 and (len(self) > self._capacity or self._bytes > self._max_bytes):
            # The newest plain one makes way too, where all others hold events.
            _, size, _ = (self._plain or self._events).popleft()
            self._bytes -= size
            dropped += 1
        return dropped

    def take(self, count: int) -> list[FrameResult]:
        """The oldest ones, in their order."""
        taken: list[FrameResult] = []
        while len(taken) < count and len(self):
            rows = [row for row in (self._plain, self._events) if row]
            _, size, processed = min(rows, key=lambda row: row[0][0]).popleft()
            self._bytes -= size
            taken.append(processed)
        return taken

    def clear(self) -> int:
        """Drop all; how many there were."""
        count = len(self)
        self._plain.clear()
        self._events.clear()
        self._bytes = 0
        return count


def has_events(processed: FrameResult) -> bool:
    """True if something happened in the frame."""
    return processed.observation is not None and bool(processed.observation.events)


def held_bytes(processed: FrameResult) -> int:
    """Memory that its image and arrays take."""
    result = processed.result
    if isinstance(result, Classification):
        total = result.scores.nbytes
    elif isinstance(result, Segmentation):
        total = result.mask.nbytes
    else:
        total = result.boxes.nbytes + result.scores.nbytes + result.labels.nbytes
        if isinstance(result, Instances):
            total += sum(mask.pixels.nbytes for mask in result.masks)
    image = processed.frame.image_bgr
    return total + (image.nbytes if any(image.strides) else 0)
