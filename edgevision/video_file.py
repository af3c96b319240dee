"""A video file in the making."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path

import cv2

from edgevision import atomic
from edgevision.errors import SinkError
from edgevision.image import Frame, letterbox
from edgevision.opencv_build import quiet_opencv

log = logging.getLogger(__name__)

CODEC = "mp4v"
"""MPEG-4 part 2: the one that every build of OpenCV with FFmpeg can encode."""
RESERVE_BYTES = 256 * 1024
INDEX_BYTES_PER_FRAME = 32
"""What the end of the file, written last, says about each frame, rounded up."""


class VideoFile:
    """An .mp4 under a temporary name beside `path`, which it gets when it is closed.

    OpenCV's writer tells nobody that a disk is full. So free space is asked after each frame, and before the file is
    put in its place its last frame is read back; if that fails nothing is left behind and `SinkError` is raised. With
    `finish_when_full` the file is finished while there is still room for its index: what was recorded can be played.
    Sides are rounded up to even numbers by repeating the last row or column: the codec takes no others.
    """

    def __init__(
        self, path: Path, size_wh: tuple[int, int], fps: float, *, finish_when_full: bool = False
    ) -> None:
        self._path = path
        self._finish_when_full = finish_when_full
        self._size_wh = (size_wh[0] + size_wh[0] % 2, size_wh[1] + size_wh[1] % 2)
        # A frame takes no more than one byte a pixel, and the writer holds back as much.
        self._reserve_bytes = RESERVE_BYTES + 2 * self._size_wh[0] * self._size_wh[1]
        self._written = 0
        self._open = True
        self._staging = contextlib.ExitStack()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise SinkError(f"cannot write {path}: it is a folder")
            self._temporary = self._staging.enter_context(atomic.staged_file(path))
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror}") from error
        with quiet_opencv():
            fourcc = cv2.VideoWriter.fourcc(*CODEC)
            self._writer = cv2.VideoWriter(str(self._temporary), fourcc, fps, self._size_wh)
        if not self._writer.isOpened():
            self.discard()
            width, height = self._size_wh
            raise SinkError(
                f"OpenCV cannot encode {path} with codec {CODEC} at {width}x{height} and {fps:g} frames/s;"
                " `edgevision doctor` tells what this build of OpenCV can do"
            )

    def write(self, frame_bgr: Frame) -> None:
        """Encode one frame; raises `SinkError` when the disk is nearly full."""
        if not self._open:
            raise SinkError(f"cannot write {self._path}: it is closed")
        self._writer.write(self._fitted(frame_bgr))
        self._written += 1
        free = shutil.disk_usage(self._path.parent).free
        if free < self._reserve_bytes + INDEX_BYTES_PER_FRAME * self._written:
            said = f"cannot write {self._path}: no space left on device after {self._written} frames"
            if not self._finish_when_full:
                self.discard()
                raise SinkError(said)
            self.close()
            raise SinkError(f"{said}, which are in it")

    def close(self) -> None:
        """Put the file in its place; a second call does nothing, and without a frame there is no file."""
        if not self._open:
            return
        self._writer.release()
        if self._written == 0:
            self.discard()
            return
        if not self._is_whole():
            self.discard()
            raise SinkError(
                f"cannot write {self._path}: its {self._written} frames cannot be read back; is the disk full?"
            )
        self._open = False
        try:
            self._staging.close()
        except OSError as error:
            raise SinkError(f"cannot write {self._path}: {error.strerror}") from error

    def discard(self) -> None:
        """Remove what was written."""
        if not self._open:
            return
        self._open = False
        if hasattr(self, "_writer"):
            self._writer.release()
        abandoned = SinkError(f"{self._path} was abandoned")
        self._staging.__exit__(SinkError, abandoned, None)

    def _fitted(self, frame_bgr: Frame) -> Frame:
        """OpenCV's writer drops frames of any other size without a word."""
        height, width = frame_bgr.shape[:2]
        right, below = self._size_wh[0] - width, self._size_wh[1] - height
        if right == 0 and below == 0:
            return frame_bgr
        if 0 <= right <= 1 and 0 <= below <= 1:
            bordered = cv2.copyMakeBorder(frame_bgr, 0, below, 0, right, cv2.BORDER_REPLICATE)
            return bordered.astype(frame_bgr.dtype, copy=False)
        return letterbox(frame_bgr, self._size_wh, pad_value=0)[0]

    def _is_whole(self) -> bool:
        """True if as many frames as were written can be counted, and the last one decoded."""
        with quiet_opencv():
            capture = cv2.VideoCapture(str(self._temporary))
        try:
            if round(capture.get(cv2.CAP_PROP_FRAME_COUNT)) != self._written:
                return False
            capture.set(cv2.CAP_PROP_POS_FRAMES, self._written - 1)
            return bool(capture.read()[0])
        finally:
            capture.release()
