"""Leaves non-reference frames of a live stream undecoded while their images would be dropped anyway.

No other frame is predicted from a non-reference frame (H.264: ``nal_ref_idc`` 0; H.265: sub-layer non-reference
pictures), so the decoded frames stay the same.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Literal

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgevision.sources.demand import Demand

CODECS = ("h264", "hevc")
ARRIVALS = 31
"""Number of latest packets whose arrivals give the stream's period."""
LEAD_FRAMES, REORDERED_LEAD_FRAMES = 2, 4
"""Before a frame is taken, all frames of this many periods are decoded, so that the newest one is as new as it would be
without skipping. A stream that reorders its frames needs more, because its decoder holds frames back.
"""


class FrameSkipping:
    """Decides for each packet whether its frame may be skipped, and finds the skipped ones afterwards."""

    def __init__(self, stream: VideoStream, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._context = stream.codec_context
        self._possible = self._context.name in CODECS
        self._clock_s = clock_s
        self._arrivals_s: deque[float] = deque(maxlen=ARRIVALS)
        self._uncertain: deque[tuple[int, Fraction]] = deque(maxlen=4 * ARRIVALS)
        """Time stamps of packets that were decoded or skipped, until a later frame shows which."""

    def prepare(self, packet: Packet[VideoStream], demand: Demand | None, *, software: bool) -> None:
        """Set the decoder to skip the packet's frame, if it is a non-reference frame, or to decode it."""
        self._arrivals_s.append(self._clock_s())
        base, pts = packet.time_base, packet.pts
        skips = software and pts is not None and base is not None and self._is_spare(demand)
        wanted: Literal["NONREF", "DEFAULT"] = "NONREF" if skips else "DEFAULT"
        if self._context.skip_frame != wanted:
            self._context.skip_frame = wanted
        if skips and pts is not None and base is not None:
            self._uncertain.append((pts, base))

    def skipped_before(self, picture: VideoFrame) -> tuple[int, ...]:
        """The time stamps, in nanoseconds, of the frames that were skipped since the frame before this one."""
        if not self._uncertain or picture.pts is None:
            return ()
        found = sorted(entry for entry in self._uncertain if entry[0] < picture.pts)
        later = [entry for entry in self._uncertain if entry[0] > picture.pts]
        self._uncertain.clear()
        self._uncertain.extend(later)
        return tuple(stamp_ns(*entry) for entry in found)

    def _is_spare(self, demand: Demand | None) -> bool:
        """True if the next frame is taken so much later that a newer frame than the current one will be ready."""
        if not self._possible or demand is None or len(self._arrivals_s) < ARRIVALS:
            return False
        period_s = (self._arrivals_s[-1] - self._arrivals_s[0]) / (ARRIVALS - 1)
        lead = REORDERED_LEAD_FRAMES if self._context.has_b_frames else LEAD_FRAMES
        return demand.until_next_s() > lead * period_s


def stamp_ns(pts: int, time_base: Fraction) -> int:
    """A time stamp of a stream in nanoseconds."""
    return pts * time_base.numerator * 1_000_000_000 // time_base.denominator
