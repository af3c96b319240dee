"""Counter of frames that a camera sent and that never arrived."""

from __future__ import annotations

import statistics
from collections import deque

SPAN = 33
"""Number of time stamp steps whose median is the camera's period; a step is compared with those before and after it."""
LEAST = 8
"""Minimum number of steps; with fewer, the period is unknown and nothing is counted."""
JUMP_NS = 10_000_000_000
"""Longer steps, and steps backwards, mean that the clock was set."""


class GapCounter:
    """Counts missing frames by the time stamps of one connection.

    A step of about n periods means n - 1 missing frames. The period is the median of the surrounding steps. If a camera
    lowers its rate in the dark, all steps become longer, and nothing counts as missing. Counts lag by half of `SPAN`.
    """

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._steps_ns: deque[int] = deque(maxlen=SPAN)
        self._unjudged = 0

    def add(self, stamp_ns: int) -> int:
        """Add a frame's time stamp; returns the number of missing frames found."""
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
        """End the connection; returns the number of further missing frames."""
        found = self._judge(self._unjudged) if len(self._steps_ns) >= LEAST else 0
        self._steps_ns.clear()
        self._unjudged, self._last_ns = 0, None
        return found

    def _judge(self, count: int) -> int:
        """Count missing frames in the oldest `count` unchecked steps."""
        period_ns = statistics.median(self._steps_ns)
        first = len(self._steps_ns) - self._unjudged
        self._unjudged -= count
        steps_ns = list(self._steps_ns)[first : first + count]
        return sum(round(step_ns / period_ns) - 1 for step_ns in steps_ns if step_ns > 1.5 * period_ns)
