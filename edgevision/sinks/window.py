"""Window for annotated frames."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import cv2

from edgevision.device.opencv_build import OpenCvBuild, why_no_window
from edgevision.errors import SinkError
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink

ESCAPE = 27


class WindowSink(Sink):
    """A window for annotated frames; `q`, Escape or closing it sets `closed`.

    With `hold` every frame stays until a key is pressed or `stop` returns True; it is for single images.
    """

    annotated = True

    def __init__(self, title: str, *, hold: bool = False, stop: Callable[[], bool] = lambda: False) -> None:
        reason = why_no_window(OpenCvBuild.here())
        if reason is not None:
            raise SinkError(f"cannot open a window: {reason}")
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise SinkError(f"cannot open a window: {error.err}") from error
        self._title = title
        self._hold = hold
        self._stop = stop
        self._sized = False
        self.closed = False

    def write(self, processed: FrameResult) -> None:
        """Show the frame's image."""
        if self.closed:
            return
        if not self._sized:
            cv2.resizeWindow(self._title, *processed.frame.size_wh)
            self._sized = True
        cv2.imshow(self._title, processed.frame.image_bgr)
        self.written += 1
        key = self._poll(1)
        while self._hold and key == -1 and not self.closed and not self._stop():
            key = self._poll(50)

    def close(self) -> None:
        """Close the window."""
        with contextlib.suppress(cv2.error):  # the user may have closed it
            cv2.destroyWindow(self._title)

    def _poll(self, wait_ms: int) -> int:
        key = cv2.waitKey(wait_ms)
        gone = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        self.closed = self.closed or gone or (key & 0xFF in (ord("q"), ESCAPE) and key != -1)
        return key
