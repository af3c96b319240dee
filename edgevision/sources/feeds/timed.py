"""Base of the synthetic feeds, whose frames are due at a fixed rate."""

from __future__ import annotations

import abc
import threading
import time

from edgevision.contract.image import Frame
from edgevision.errors import SourceError
from edgevision.sources.feeds.feed import Feed, FeedFrame, thumbnail_of


class TimedFeed(Feed):
    """Frame n is due n periods after the first one, so the rate does not drift.

    Frames that a slow machine cannot produce in time are skipped, as with a real camera.
    """

    def __init__(self, fps: float) -> None:
        self.fps: float = fps
        self._began_ns = time.perf_counter_ns()
        self._next = 0
        self._interrupted = threading.Event()

    @abc.abstractmethod
    def frame(self, index: int, left_out: int) -> Frame:
        """Frame `index`, which the caller owns; `left_out` frames were skipped before it."""

    def read(self) -> FeedFrame:
        """Wait until the next frame is due, and produce it."""
        elapsed_s = (time.perf_counter_ns() - self._began_ns) / 1e9
        index = max(self._next, int(elapsed_s * self.fps))
        if self._interrupted.wait(max(0.0, index / self.fps - elapsed_s)):
            raise SourceError("the feed was closed")
        left_out, self._next = index - self._next, index + 1
        now_ns = time.perf_counter_ns()
        stamp_ns = round(index * 1e9 / self.fps)
        captured_ns = min(self._began_ns + stamp_ns, now_ns)
        captured_at = time.time() - (now_ns - captured_ns) / 1e9
        frame = self.frame(index, left_out)
        decode_ns = time.perf_counter_ns() - now_ns
        size_wh = (frame.shape[1], frame.shape[0])
        return FeedFrame(
            frame,
            thumbnail_of(frame),
            size_wh,
            captured_ns,
            captured_at,
            "camera",
            decode_ns,
            stamp_ns=stamp_ns,
        )

    def close(self) -> None:
        """Do nothing: no file or device is open."""

    def interrupt(self) -> None:
        """End a wait."""
        self._interrupted.set()
