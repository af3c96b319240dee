"""Video files that are complete or absent."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import shutil
from pathlib import Path
from typing import NoReturn, Protocol

import cv2

from edgevision.contract.image import Frame, letterbox
from edgevision.device.opencv_build import quiet_opencv
from edgevision.errors import SinkError
from edgevision.storage import atomic

log = logging.getLogger(__name__)

CODEC = "mp4v"
"""MPEG-4 part 2, which every build of OpenCV with FFmpeg can encode."""
FRAGMENTED_SUFFIXES = frozenset((".mp4", ".m4v"))
"""Containers that are written in fragments."""
RESERVE_BYTES = 256 * 1024
INDEX_BYTES_PER_FRAME = 32
"""Bytes of the index per frame, rounded up; it is written at the end of the file."""


class Encoder(Protocol):
    """Writes frames of one size into a file."""

    @property
    def playable(self) -> bool:
        """True if the current file is playable, even if the program is killed."""

    def write(self, frame_bgr: Frame) -> None:
        """Encode a frame."""

    def close(self) -> None:
        """Finish the file."""


class OpenCvEncoder:
    """MPEG-4 part 2 by OpenCV: browsers do not play it, and the file is not playable before it is closed."""

    playable = False

    def __init__(self, path: Path, size_wh: tuple[int, int], fps: float) -> None:
        with quiet_opencv():
            fourcc = cv2.VideoWriter.fourcc(*CODEC)
            self._writer = cv2.VideoWriter(str(path), fourcc, fps, size_wh)
        if not self._writer.isOpened():
            raise SinkError(
                f"OpenCV cannot encode with codec {CODEC} at {size_wh[0]}x{size_wh[1]} and {fps:g} frames/s; run:"
                " edgevision doctor"
            )

    def write(self, frame_bgr: Frame) -> None:
        """Encode a frame; OpenCV does not report errors."""
        self._writer.write(frame_bgr)

    def close(self) -> None:
        """Write the index."""
        self._writer.release()


class VideoFile:
    """A video with a temporary name beside `path`, which it receives when it is closed.

    With PyAV it is H.264. A `recording` gets its final name, replacing an older file, as soon as its first second is
    playable; it survives a killed program. Without PyAV it is MPEG-4 part 2.

    OpenCV's writer does not report a full disk. Free space is therefore checked after each frame. Before the file gets
    its name, its frames are counted and the last one is decoded. If that fails, no file is left and `SinkError` is
    raised. On a full disk a `recording` is completed while there is still space, so that it is playable. Sides are
    rounded up to even numbers by repeating the last row or column, because the codecs require them.
    """

    def __init__(self, path: Path, size_wh: tuple[int, int], fps: float, *, recording: bool = False) -> None:
        self._path = path
        self._recording = recording
        self._size_wh = (size_wh[0] + size_wh[0] % 2, size_wh[1] + size_wh[1] % 2)
        # A frame takes at most one byte per pixel, and the writer buffers as much.
        self._reserve_bytes = RESERVE_BYTES + 2 * self._size_wh[0] * self._size_wh[1]
        self._written = 0
        self._open = True
        self._encoder: Encoder | None = None
        self._file: Path | None = None
        """Current path: temporary or final."""
        self._staging = contextlib.ExitStack()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise SinkError(f"cannot write {path}: it is a folder")
            self._file = self._temporary = self._staging.enter_context(atomic.staged_file(path))
            self._encoder = open_encoder(self._temporary, self._size_wh, fps)
        except OSError as error:
            self.discard()
            raise SinkError(f"cannot write {path}: {error.strerror}") from error
        except SinkError as error:
            self.discard()
            raise SinkError(f"cannot write {path}: {error}") from error

    def write(self, frame_bgr: Frame) -> None:
        """Encode one frame; raises `SinkError` when the disk is nearly full."""
        if not self._open or self._encoder is None:
            raise SinkError(f"cannot write {self._path}: it is closed")
        try:
            self._encoder.write(self._fitted(frame_bgr))
            self._written += 1
            if self._recording and self._encoder.playable and self._file != self._path:
                atomic.publish(self._temporary, self._path)
                self._file = self._path
        except OSError as error:
            self._stop_full(error.strerror or str(error), error)
        free = shutil.disk_usage(self._path.parent).free
        if free < self._reserve_bytes + INDEX_BYTES_PER_FRAME * self._written:
            self._stop_full("no space left on device", None)

    def close(self) -> None:
        """Give the file its name; a second call does nothing, and without a frame there is no file."""
        if not self._open or self._encoder is None:
            return
        if self._written == 0:
            self.discard()
            return
        try:
            self._encoder.close()
        except OSError as error:
            log.warning("%s: the last frames are lost: %s", self._path, error.strerror or error)
        if not self._is_whole():
            self.discard()
            raise SinkError(
                f"cannot write {self._path}: its {self._written} frames cannot be read back; the disk may be full"
            )
        self._open = False
        if self._file == self._path:
            # `staged_file` has nothing left to move.
            with contextlib.suppress(OSError):
                self._staging.close()
            return
        try:
            self._staging.close()
        except OSError as error:
            raise SinkError(f"cannot write {self._path}: {error.strerror}") from error

    def discard(self) -> None:
        """Remove the file."""
        if not self._open:
            return
        self._open = False
        if self._encoder is not None:
            with contextlib.suppress(OSError):
                self._encoder.close()
        if self._file == self._path:
            self._path.unlink(missing_ok=True)
        abandoned = SinkError(f"{self._path} was abandoned")
        self._staging.__exit__(SinkError, abandoned, None)

    def _stop_full(self, reason: str, error: OSError | None) -> NoReturn:
        message = f"cannot write {self._path}: {reason} after {self._written} frames"
        if not self._recording:
            self.discard()
            raise SinkError(message) from error
        self.close()
        raise SinkError(f"{message}; the file contains them") from error

    def _fitted(self, frame_bgr: Frame) -> Frame:
        """Fit a frame to the video's size; OpenCV's writer silently drops frames of any other size."""
        height, width = frame_bgr.shape[:2]
        right, below = self._size_wh[0] - width, self._size_wh[1] - height
        if right == 0 and below == 0:
            return frame_bgr
        if 0 <= right <= 1 and 0 <= below <= 1:
            bordered = cv2.copyMakeBorder(frame_bgr, 0, below, 0, right, cv2.BORDER_REPLICATE)
            return bordered.astype(frame_bgr.dtype, copy=False)
        return letterbox(frame_bgr, self._size_wh, pad_value=0)[0]

    def _is_whole(self) -> bool:
        """True if the file has the expected number of frames and the last one can be decoded."""
        with quiet_opencv():
            capture = cv2.VideoCapture(str(self._file))
        try:
            if round(capture.get(cv2.CAP_PROP_FRAME_COUNT)) != self._written:
                return False
            capture.set(cv2.CAP_PROP_POS_FRAMES, self._written - 1)
            return bool(capture.read()[0])
        finally:
            capture.release()


def open_encoder(path: Path, size_wh: tuple[int, int], fps: float) -> Encoder:
    """H.264 for .mp4 and .m4v if PyAV is installed, else OpenCV's encoder; raises `SinkError` and `OSError`."""
    if path.suffix.lower() not in FRAGMENTED_SUFFIXES:
        return OpenCvEncoder(path, size_wh, fps)
    if importlib.util.find_spec("av") is None:
        _say_once(
            "PyAV is not installed: videos are MPEG-4 part 2, which browsers do not play, and are lost if the"
            " program is killed; run: pip install 'edgevision[rtsp]'"
        )
        return OpenCvEncoder(path, size_wh, fps)
    # imported here because it belongs to an extra
    from edgevision.sinks.files.h264 import H264Encoder

    return H264Encoder(path, size_wh, fps)


@functools.cache
def _say_once(message: str) -> None:
    log.warning("%s", message)
