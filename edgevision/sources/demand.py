"""Prediction of when the reader of a live source takes its next frame."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

REMEMBERED = 8
"""Number of latest intervals between two taken frames."""
_SHORT = 2
"""Position of the predicted interval in the sorted ones: a single short interval, or two, change nothing."""


class Demand:
    """The reader's thread records taken frames; any thread asks for the time until the next one."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._intervals_s: deque[float] = deque(maxlen=REMEMBERED)
        self._last_s: float | None = None
        self._due_s: float | None = None

    def taken(self) -> None:
        """Record that the reader has taken a frame."""
        now_s = self._clock_s()
        if self._last_s is not None:
            self._intervals_s.append(now_s - self._last_s)
        self._last_s = now_s
        if len(self._intervals_s) == REMEMBERED:
            self._due_s = now_s + sorted(self._intervals_s)[_SHORT]

    def until_next_s(self) -> float:
        """Expected time until the next frame is taken; 0 if it is unknown or overdue."""
        return 0.0 if self._due_s is None else max(0.0, self._due_s - self._clock_s())
