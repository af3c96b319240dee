"""Frames that a camera took and that never came."""

from __future__ import annotations

import statistics
from collections import deque

SPAN = 33
"""Steps between time stamps whose median is the camera's period; a step is held against those before and after it."""
LEAST = 8
"""With fewer steps the period is not known, and nothing is counted."""
JUMP_NS = 10_000_000_000
"""A longer step, and one backwards, is a clock that was set."""


class GapCounter:
    """Counts what is missing between the time stamps of one connection.

    A step of about n periods means n - 1 missing frames. The period is the median of the steps around, so that a camera
    which takes fewer frames in the dark is believed: its steps all become longer. Counts come half of `SPAN` late.
    """

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._steps_ns: deque[int] = deque(maxlen=SPAN)
        self._unjudged = 0

    def add(self, stamp_ns: int) -> int:
        """Take in a frame's time stamp; gives how many missing frames were found."""
        last_ns, self._last_ns = self._last_ns, stamp_ns
        if last_ns is None:
            return 0
        step_ns = stamp_ns - last_ns
        if not 0 < step_ns <= JUMP_NS:
            found = self.end()
            self._last_ns = stamp_ns
            return found
        self._steps_ns.append(step_ns)
        self._unjudged += 1
        return self._judge(self._unjudged - SPAN // 2) if len(self._steps_ns) == SPAN else 0

    def end(self) -> int:
        """The connection is over: gives how many more were found."""
        found = self._judge(self._unjudged) if len(self._steps_ns) >= LEAST else 0
        self._steps_ns.clear()
        self._unjudged, self._last_ns = 0, None
        return found

    def _judge(self, count: int) -> int:
        """The oldest `count` steps that were not judged yet."""
        period_ns = statistics.median(self._steps_ns)
        first = len(self._steps_ns) - self._unjudged
        self._unjudged -= count
        steps_ns = list(self._steps_ns)[first : first + count]
        return sum(round(step_ns / period_ns) - 1 for step_ns in steps_ns if step_ns > 1.5 * period_ns)
