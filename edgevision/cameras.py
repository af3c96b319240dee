"""Cameras: the newest frame, whatever the speed of its reader."""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from edgevision.channel import Channel, ChannelClosed
from edgevision.errors import SourceError
from edgevision.frames import Capture, Source, SourceFrame, known
from edgevision.opencv_build import quiet_opencv

log = logging.getLogger(__name__)

FIRST_FRAME_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0


class CameraSource(Source):
    """A camera: a thread keeps the newest frame, so that a slow reader never sees an old one."""

    def __init__(
        self, name: str, capture: Capture, *, first_frame_timeout_s: float = FIRST_FRAME_TIMEOUT_S
    ) -> None:
        super().__init__(name, live=True, fps=known(capture.get(cv2.CAP_PROP_FPS)), frame_count=None)
        self._frames: Channel[SourceFrame] = Channel(1, newest=True)
        self._closing = threading.Event()
        self._capture = capture
        self._thread = threading.Thread(target=self._grab_all, name=f"camera {name}", daemon=True)
        self._thread.start()
        try:
            first = self._frames.get(first_frame_timeout_s)
        except ChannelClosed:
            first = None
        if first is None:
            self.close()
            raise SourceError(
                f"{name} is open but delivered no frame within {first_frame_timeout_s:g} s;"
                " is it used by another program, or is its cable at fault?"
            )
        self.size_wh = first.size_wh
        self._first: SourceFrame | None = first
        self._last_index = -1

    def read(self) -> SourceFrame | None:
        """The newest frame that was not read yet; waits for it."""
        try:
            newest = self._frames.get(0 if self._first else None)
        except ChannelClosed:
            newest = None
        first, self._first = self._first, None
        frame = newest or first
        if self._closing.is_set():
            return None
        if frame is None:
            raise SourceError(f"{self.name} stopped delivering frames; is it still plugged in?")
        self.dropped += frame.index - self._last_index - 1
        self._last_index = frame.index
        return frame

    def close(self) -> None:
        """Stop the thread, which releases the camera; one that hangs in its driver is left behind."""
        self._closing.set()
        self._frames.abort()
        if self._thread is not threading.current_thread():
            self._thread.join(CLOSE_TIMEOUT_S)

    def _grab_all(self) -> None:
        index = 0
        try:
            while not self._closing.is_set() and self._capture.grab():
                captured_ns, captured_at = time.perf_counter_ns(), time.time()
                decoded, image = self._capture.retrieve()
                if not decoded or image is None:
                    break
                decode_ns = time.perf_counter_ns() - captured_ns
                frame = SourceFrame(
                    np.asarray(image, np.uint8), index, self.name, captured_ns, captured_at, None, decode_ns
                )
                index += 1
                self._frames.put(frame)
        except ChannelClosed:
            pass
        except cv2.error as error:
            log.warning("%s: %s", self.name, error.err)
        finally:
            self._frames.end()
            # Only this thread uses the capture: releasing it elsewhere would pull it from under a grab.
            self._capture.release()


def open_camera(index: int, *, devices: Path = Path("/dev")) -> Source:
    """Open a camera by its index; `devices` is where Linux lists them."""
    if sys.platform == "linux" and not (devices / f"video{index}").exists():
        present = ", ".join(str(path) for path in sorted(devices.glob("video*"))) or "none"
        raise SourceError(
            f"camera {index} does not exist: there is no {devices / f'video{index}'}; cameras here: {present}"
        )
    with quiet_opencv():
        capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        raise SourceError(
            f"camera {index} cannot be opened; is it used by another program, or may this user not read"
            " it? sudo usermod -aG video $USER"
        )
    return CameraSource(f"camera {index}", capture)
