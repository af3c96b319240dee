"""A feed where no camera is: the virtual camera, at a real camera's pace."""

from __future__ import annotations

import threading
import time

from edgevision.errors import SourceError
from edgevision.sources.feeds.feed import Feed, FeedFrame, thumbnail_of
from edgevision.sources.frames import CaptureClock
from edgevision.sources.virtual_camera import VirtualCamera

_CLOCK: CaptureClock = "camera"


class VirtualFeed(Feed):
    """Frame n is due n periods after the first one; what a slow machine cannot draw in time is left out."""

    def __init__(self, size_wh: tuple[int, int], fps: float) -> None:
        self.fps = fps
        self._camera = VirtualCamera(size_wh)
        self._began_ns = time.perf_counter_ns()
        self._next = 0
        self._interrupted = threading.Event()

    def read(self) -> FeedFrame:
        """Wait until the next picture is due, and draw it."""
        assert self.fps is not None
        elapsed_s = (time.perf_counter_ns() - self._began_ns) / 1e9
        index = max(self._next, int(elapsed_s * self.fps))
        if self._interrupted.wait(max(0.0, index / self.fps - elapsed_s)):
            raise SourceError("it was closed")
        self._next = index + 1
        captured_ns, captured_at = time.perf_counter_ns(), time.time()
        frame = self._camera.frame(index)
        decode_ns = time.perf_counter_ns() - captured_ns
        return FeedFrame(
            lambda: frame,
            thumbnail_of(frame),
            self._camera.size_wh,
            captured_ns,
            captured_at,
            _CLOCK,
            decode_ns,
            stamp_ns=round(index * 1e9 / self.fps),
        )

    def close(self) -> None:
        """Nothing is held open."""

    def interrupt(self) -> None:
        """End a wait."""
        self._interrupted.set()
