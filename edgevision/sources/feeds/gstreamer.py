"""Feeds through gst-launch-1.0, for an OpenCV built without GStreamer."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import parse_qsl

import cv2
import numpy as np

from edgevision.contract.image import Frame
from edgevision.contract.pixels import FramePixels, Plane, Planes, bgr_matrix, write_planes
from edgevision.errors import SourceError
from edgevision.sources.feeds.feed import Feed, FeedFrame, thin_out
from edgevision.sources.frames import CaptureClock

LAUNCHER = "gst-launch-1.0"
NEWEST = "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0"
LONGEST_LINE = 1024
KEPT_WORDS = 16_384
BT_601 = bgr_matrix(0.299, 0.114)
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
            write_planes(self._planes(), out, interpolation, BT_601)

    def _planes(self) -> Planes:
        width, height = self.size_wh
        blue, red = self._pixels[height:].reshape(2, height // 2, width // 2)
        return self._pixels[:height], blue, red


class LaunchFeed(Feed):
    """Reads YUV4MPEG2 from a pipe of gst-launch-1.0; only the newest frame is queued.

    The format has its size in a header and needs half the memory of BGR. Each frame is a line and ``width * height * 3
    / 2`` bytes. Standard output is not used, because the driver of CSI cameras writes messages there.
    """

    def __init__(self, pipeline: str, *, connect_timeout_s: float, read_timeout_s: float) -> None:
        program = shutil.which(LAUNCHER)
        if program is None:
            raise SourceError(
                f"{LAUNCHER} is not installed, and this OpenCV was built without GStreamer:"
                " sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
            )
        self._pictures, write_end = os.pipe()
        end = f"videoconvert ! video/x-raw,format=I420 ! {NEWEST} ! y4menc ! fdsink fd={write_end} sync=false"
        try:
            self._process = subprocess.Popen(
                [program, "-q", *_words(pipeline), "!", *_words(end)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(write_end,),
            )
        except BaseException:
            os.close(self._pictures)
            raise
        finally:
            os.close(write_end)
        assert self._process.stderr is not None
        self._errors = self._process.stderr
        os.set_blocking(self._errors.fileno(), False)
        self._messages = b""
        self._timeout_s = read_timeout_s
        self._held = bytearray()
        try:
            self._size_wh = self._header(self._line(connect_timeout_s))
        except SourceError:
            self.close()
            raise

    def read(self) -> FeedFrame:
        """The next frame."""
        line = self._line(self._timeout_s)
        captured_ns, captured_at = time.perf_counter_ns(), time.time()
        if line.startswith(b"YUV4MPEG2"):
            self._size_wh = self._header(line)
            line = self._line(self._timeout_s)
        if not line.startswith(b"FRAME"):
            raise SourceError("the program wrote data other than frames")
        width, height = self._size_wh
        data = self._take(width * height * 3 // 2, self._timeout_s)
        planes = np.frombuffer(data, np.uint8).reshape(height * 3 // 2, width)
        decode_ns = time.perf_counter_ns() - captured_ns
        thumbnail = thin_out(planes[:height])
        # Encoders use the limited range: 16 is black.
        thumbnail = np.maximum(thumbnail, 16) - np.uint8(16)
        return FeedFrame(
            I420Frame(planes), thumbnail, self._size_wh, captured_ns, captured_at, _CLOCK, decode_ns
        )

    def close(self) -> None:
        """End the program."""
        self.interrupt()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self._errors.closed:
            self._errors.close()
            os.close(self._pictures)

    def interrupt(self) -> None:
        """End the program, and with it a waiting read."""
        if self._process.poll() is None:
            self._process.terminate()

    def _header(self, line: bytes) -> tuple[int, int]:
        fields = {word[:1]: word[1:] for word in line.split()[1:]}
        if not line.startswith(b"YUV4MPEG2") or not (fields.get(b"W") and fields.get(b"H")):
            raise SourceError("the program wrote data other than frames")
        width, height = int(fields[b"W"]), int(fields[b"H"])
        if width % 2 or height % 2:
            raise SourceError(
                f"frames are {width}x{height}; expected even numbers: end the pipeline with videoscale !"
                f" video/x-raw,width={width // 2 * 2},height={height // 2 * 2}"
            )
        rate = re.fullmatch(rb"(\d+):(\d+)", fields.get(b"F", b""))
        if rate and int(rate[1]) and int(rate[2]):
            self.fps = float(Fraction(int(rate[1]), int(rate[2])))
        return width, height

    def _line(self, timeout_s: float) -> bytes:
        deadline_s = time.monotonic() + timeout_s
        while (end := self._held.find(b"\n")) < 0:
            if len(self._held) > LONGEST_LINE:
                raise SourceError("the program wrote data other than frames")
            self._more(deadline_s, timeout_s)
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line

    def _take(self, count: int, timeout_s: float) -> bytearray:
        deadline_s = time.monotonic() + timeout_s
        while len(self._held) < count:
            self._more(deadline_s, timeout_s)
        data, self._held = self._held[:count], self._held[count:]
        return data

    def _more(self, deadline_s: float, timeout_s: float) -> None:
        """Wait for data, and drain the program's messages meanwhile; a full pipe would block it."""
        words = self._errors.fileno()
        awaited = [self._pictures, words]
        while True:
            ready, _, _ = select.select(awaited, [], [], max(0.0, deadline_s - time.monotonic()))
            if words in ready and not self._drain():
                awaited = [self._pictures]  # closed by the program, so it would always be ready
            if self._pictures in ready:
                break
            if time.monotonic() >= deadline_s:
                raise SourceError(f"no data within {timeout_s:g} s")
        data = os.read(self._pictures, 1 << 20)
        if not data:
            raise SourceError(self._last_error())
        self._held += data

    def _drain(self) -> bool:
        """Keep the end of the program's messages; False once their pipe is closed."""
        data = self._errors.read()
        self._messages = (self._messages + (data or b""))[-KEPT_WORDS:]
        return data != b""

    def _last_error(self) -> str:
        """The program's last error message, in one line."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # messages may follow the last frame
            self._process.wait(1)
        self._drain()
        errors = re.findall(
            r"(?:ERROR|WARNING): (?:from element \S+ )?(.+)", self._messages.decode(errors="replace")
        )
        return f"the pipeline ended: {errors[0].strip()}" if errors else "the pipeline ended"


def _words(pipeline: str) -> list[str]:
    """Split like a shell, without running one."""
    try:
        return shlex.split(pipeline)
    except ValueError as error:
        raise SourceError(f"cannot split the pipeline {pipeline!r} into words: {error}") from error
