"""Conversion of a network stream's time stamps into capture times."""

from __future__ import annotations

from edgevision.sources.frames import CaptureClock

WINDOW_NS = 30_000_000_000
"""The least delayed packet within this time, up to twice as long, sets the clock. Crystals of cameras drift by about 50
us per second at worst, which is 3 ms in that time.
"""
JUMP_NS = 10_000_000_000
"""A larger deviation of a time stamp restarts the estimate."""
LEAST_DELAY_NS = -50_000_000
MOST_DELAY_NS = 1_000_000_000
"""Permitted range of the shortest delay by a camera's clock; otherwise the clock is ignored."""


class SlidingMinimum:
    """Minimum over the last `WINDOW_NS` to twice that, in constant memory."""

    def __init__(self) -> None:
        self._current: int | None = None
        self._previous: int | None = None
        self._turn_ns = 0

    def add(self, value: int, at_ns: int) -> int:
        """Add a value and return the minimum."""
        if self._current is not None and abs(value - self.least) > JUMP_NS:
            self._current = self._previous = None
        if self._current is None or at_ns - self._turn_ns >= WINDOW_NS:
            self._previous, self._current, self._turn_ns = self._current, value, at_ns
        self._current = min(self._current, value)
        return self.least

    @property
    def least(self) -> int:
        """The minimum; there must have been a value."""
        assert self._current is not None
        return self._current if self._previous is None else min(self._current, self._previous)


class StreamClock:
    """Converts the time stamps of a stream into times of this machine.

    The packet with the shortest delay in the last half minute counts as undelayed. A frame's capture time is its time
    stamp, relative to that packet. Delays in queues of the network and the server are therefore part of its age; a
    constant part of the delay is not. With sender reports of RTCP (RFC 3550, 6.4.1), which carry the camera's wall
    clock, the constant part is included too. They are used if the shortest delay by them is between -0.05 and 1 s,
    because many cameras' clocks are not set.
    """

    def __init__(self) -> None:
        self._offset = SlidingMinimum()
        self._delay = SlidingMinimum()
        self._camera_minus_stamp_ns: int | None = None
        self._least_delay_ns: int | None = None

    def packet(self, stamp_ns: int, arrived_ns: int, arrived_at: float, camera_at: float | None) -> None:
        """Add a packet's time stamp, its arrival by both local clocks, and its sending time by the camera's clock."""
        self._offset.add(arrived_ns - stamp_ns, arrived_ns)
        if camera_at is not None:
            delay_ns = round((arrived_at - camera_at) * 1e9)
            self._least_delay_ns = self._delay.add(delay_ns, arrived_ns)
            # The steady clock, because the wall clock may be set while the program runs.
            self._camera_minus_stamp_ns = arrived_ns - delay_ns - stamp_ns

    def captured(self, stamp_ns: int, arrived_ns: int) -> tuple[int, CaptureClock]:
        """Capture time of the frame with a time stamp, by the steady clock; never later than its arrival."""
        from_camera, delay_ns = self._camera_minus_stamp_ns, self._least_delay_ns
        if from_camera is None or delay_ns is None or not LEAST_DELAY_NS <= delay_ns <= MOST_DELAY_NS:
            return min(stamp_ns + self._offset.least, arrived_ns), "stream"
        return min(stamp_ns + from_camera, arrived_ns), "camera"
