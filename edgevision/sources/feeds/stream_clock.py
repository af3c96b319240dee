"""When a frame of a network stream was taken."""

from __future__ import annotations

from edgevision.sources.frames import CaptureClock

WINDOW_NS = 30_000_000_000
"""For so long, and at most twice as long, the least delayed packet sets the clock: crystals of cameras drift by
about 50 us a second at worst, which is 3 ms in that time."""
JUMP_NS = 10_000_000_000
"""A stamp that is off by more begins a new count."""
LEAST_DELAY_NS = -50_000_000
MOST_DELAY_NS = 1_000_000_000
"""Where the shortest delay by a camera's clock must lie for that clock to be believed."""


class SlidingMinimum:
    """The least of the values of the last `WINDOW_NS` to twice that, in constant memory."""

    def __init__(self) -> None:
        self._current: int | None = None
        self._previous: int | None = None
        self._turn_ns = 0

    def add(self, value: int, at_ns: int) -> int:
        """Take in a value and give the least."""
        if self._current is not None and abs(value - self.least) > JUMP_NS:
            self._current = self._previous = None
        if self._current is None or at_ns - self._turn_ns >= WINDOW_NS:
            self._previous, self._current, self._turn_ns = self._current, value, at_ns
        self._current = min(self._current, value)
        return self.least

    @property
    def least(self) -> int:
        """The least value; there must have been one."""
        assert self._current is not None
        return self._current if self._previous is None else min(self._current, self._previous)


class StreamClock:
    """Turns the time stamps of a stream into times of this machine.

    The packet that came soonest after its stamp within the last half minute is taken as undelayed: a frame's capture
    time is its stamp counted from there, so waiting in queues of the network and the server shows in its age, while a
    constant part of the delay does not. With sender reports of RTCP (RFC 3550, 6.4.1), whose wall clock is the
    camera's, the constant part shows too; they are believed if the shortest delay by them is between -0.05 and 1 s,
    since many cameras' clocks are not set.
    """

    def __init__(self) -> None:
        self._offset = SlidingMinimum()
        self._delay = SlidingMinimum()
        self._camera_minus_stamp_ns: int | None = None
        self._least_delay_ns: int | None = None

    def packet(self, stamp_ns: int, arrived_ns: int, arrived_at: float, camera_at: float | None) -> None:
        """Take in a packet's stamp, when it came by both clocks here, and when it was sent by the camera's."""
        self._offset.add(arrived_ns - stamp_ns, arrived_ns)
        if camera_at is not None:
            delay_ns = round((arrived_at - camera_at) * 1e9)
            self._least_delay_ns = self._delay.add(delay_ns, arrived_ns)
            # By the steady clock: the wall clock may be set while the program runs.
            self._camera_minus_stamp_ns = arrived_ns - delay_ns - stamp_ns

    def captured(self, stamp_ns: int, arrived_ns: int) -> tuple[int, CaptureClock]:
        """When the frame of a stamp was taken, by the steady clock and never later than it came."""
        from_camera, delay_ns = self._camera_minus_stamp_ns, self._least_delay_ns
        if from_camera is None or delay_ns is None or not LEAST_DELAY_NS <= delay_ns <= MOST_DELAY_NS:
            return min(stamp_ns + self._offset.least, arrived_ns), "stream"
        return min(stamp_ns + from_camera, arrived_ns), "camera"
