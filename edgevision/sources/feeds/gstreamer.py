"""Feeds through gst-launch-1.0, for an OpenCV built without GStreamer."""

from __future__ import annotations

import os
import re
import select
import shutil
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl

import cv2
import numpy as np

from edgevision.contract.image import Frame
from edgevision.contract.pixels import (
    BT_601,
    FramePixels,
    Plane,
    Planes,
    YuvColour,
    YuvPlanes,
    write_planes,
)
from edgevision.errors import SourceError
from edgevision.sources.feeds.feed import Feed, FeedFrame, thin_out
from edgevision.sources.feeds.launched import LAUNCHER, PACKAGES, LaunchedProgram, pipeline_words
from edgevision.sources.feeds.y4m import Y4mReader
from edgevision.sources.frames import CaptureClock

NEWEST = "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0"
PAUSE_S = 0.1
"""After this silence the program is not within a frame, which it writes at once."""
COLOUR = YuvColour(BT_601)
"""What y4menc's frames have."""
_CLOCK: CaptureClock = "arrival"


@dataclass(frozen=True, slots=True)
class CsiCamera:
    """A camera on a Jetson's CSI connector, such as ``csi://0?width=1280&height=720&fps=30&flip=2``."""

    sensor: int
    width: int = 1920
    height: int = 1080
    fps: int = 30
    flip: int = 0
    """`flip-method` of nvvidconv: 0 none, 2 rotation by 180 degrees, 4 horizontal flip, 6 vertical flip."""

    @classmethod
    def from_address(cls, address: str) -> CsiCamera:
        """Parse the address; raises `SourceError`."""
        match = re.fullmatch(r"csi://(\d+)/?(?:\?(.*))?", address)
        settings = dict(parse_qsl(match[2] or "", keep_blank_values=True)) if match else {}
        known = {"width", "height", "fps", "flip"}
        if match is None or settings.keys() - known or not all(v.isdecimal() for v in settings.values()):
            raise SourceError(
                f"{address} is not a CSI camera; expected csi://0, or csi://0?width=1280&height=720&fps=30&flip=2"
            )
        return cls(int(match[1]), **{name: int(value) for name, value in settings.items()})

    def pipeline(self, pixels: str) -> str:
        """The pipeline through the Jetson's image processor, to I420 or BGR in main memory."""
        taken = (
            f"nvarguscamerasrc sensor-id={self.sensor} ! video/x-raw(memory:NVMM),width={self.width},"
            f"height={self.height},framerate={self.fps}/1,format=NV12 ! nvvidconv flip-method={self.flip}"
        )
        if pixels == "I420":
            return f"{taken} ! video/x-raw,format=I420"
        # nvvidconv cannot output BGR; BGRx is the fastest format to convert it from.
        return f"{taken} ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR"


class I420Frame(FramePixels):
    """A frame of three planes in one array, uint8 ``[h * 3 / 2, w]``, limited range, matrix of BT.601."""

    def __init__(self, image: Plane) -> None:
        super().__init__((image.shape[1], image.shape[0] * 2 // 3))
        self._pixels = image

    def _to_bgr(self) -> Frame:
        return np.asarray(cv2.cvtColor(self._pixels, cv2.COLOR_YUV2BGR_I420), np.uint8)

    def _write_bgr(self, out: Frame, interpolation: int) -> None:
        if (out.shape[1], out.shape[0]) == self.size_wh:
            cv2.cvtColor(self._pixels, cv2.COLOR_YUV2BGR_I420, dst=out)
        else:
            write_planes(self._planes(), out, interpolation, COLOUR.to_bgr)

    @property
    def planes(self) -> YuvPlanes:
        """Its three planes."""
        luma, blue, red = self._planes()
        return YuvPlanes(luma, (blue, red), COLOUR)

    def _planes(self) -> Planes:
        width, height = self.size_wh
        blue, red = self._pixels[height:].reshape(2, height // 2, width // 2)
        return self._pixels[:height], blue, red


class LaunchFeed(Feed):
    """Reads YUV4MPEG2 from a pipe of gst-launch-1.0; only the newest frame is queued.

    The format has its size in a header and needs half the memory of BGR.
    """

    def __init__(self, pipeline: str, *, connect_timeout_s: float, read_timeout_s: float) -> None:
        if shutil.which(LAUNCHER) is None:
            raise SourceError(
                f"{LAUNCHER} is not installed, and this OpenCV was built without GStreamer: {PACKAGES}"
            )
        self._pictures, write_end = os.pipe()
        self._closed = False
        end = f"videoconvert ! video/x-raw,format=I420 ! {NEWEST} ! y4menc ! fdsink fd={write_end} sync=false"
        try:
            words = [*pipeline_words(pipeline), "!", *pipeline_words(end)]
            self._program = LaunchedProgram(words, (write_end,))
        except BaseException:
            os.close(self._pictures)
            raise
        finally:
            os.close(write_end)
        self._timeout_s = read_timeout_s
        self._frames = Y4mReader(self._pictures)
        deadline_s = time.monotonic() + connect_timeout_s
        try:
            while not self._frames.header():
                self._more(deadline_s, connect_timeout_s)
        except SourceError:
            self.close()
            raise
        self.fps = self._frames.fps

    def read(self) -> FeedFrame:
        """The next frame."""
        deadline_s = time.monotonic() + self._timeout_s
        captured_ns, captured_at, arrived = time.perf_counter_ns(), time.time(), True
        while (planes := self._frames.frame(paused=not arrived)) is None:
            begun = self._frames.begun
            arrived = self._more(deadline_s, self._timeout_s)
            if not begun:
                captured_ns, captured_at = time.perf_counter_ns(), time.time()

        width, height = planes.shape[1], planes.shape[0] * 2 // 3
        decode_ns = time.perf_counter_ns() - captured_ns
        thumbnail = thin_out(planes[:height])
        # Encoders use the limited range: 16 is black.
        thumbnail = np.maximum(thumbnail, 16) - np.uint8(16)
        return FeedFrame(
            I420Frame(planes), thumbnail, (width, height), captured_ns, captured_at, _CLOCK, decode_ns
        )

    def close(self) -> None:
        """End the program."""
        if not self._closed:
            self._closed = True
            self._program.close()
            os.close(self._pictures)

    def interrupt(self) -> None:
        """End the program, and with it a waiting read."""
        self._program.terminate()

    def _more(self, deadline_s: float, timeout_s: float) -> bool:
        """Wait for data and drain messages, because a full pipe would block the program; False after a pause."""
        words = self._program.messages_fd
        awaited = [self._pictures, words]
        pause_s = time.monotonic() + PAUSE_S
        while True:
            wait_s = min(deadline_s, pause_s) - time.monotonic()
            ready, _, _ = select.select(awaited, [], [], max(0.0, wait_s))
            if words in ready and not self._program.drain():
                awaited = [self._pictures]  # closed by the program, so it would always be ready
            if self._pictures in ready:
                break
            if time.monotonic() >= deadline_s:
                raise SourceError(f"no data within {timeout_s:g} s")
            if time.monotonic() >= pause_s:
                return False
        if not self._frames.receive():
            raise SourceError(self._program.last_error())
        return True
