"""Frames of PyAV's decoders, scaled in their planes before they are converted to BGR."""

from __future__ import annotations

from collections import deque
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from edgevision.contract.image import Frame
from edgevision.contract.pixels import FramePixels, Plane, scaled_i420

PLANAR = frozenset(("yuv420p", "yuvj420p"))
"""Formats with three planes of 8 bits, the colours at half the size."""
_KEPT = 4
"""Idle converters of one feed; more run at once only while more threads convert."""
_BT_601 = frozenset((2, 5, 6))
"""AVCOL_SPC_UNSPECIFIED, BT470BG and SMPTE170M: one matrix, the one that OpenCV has."""
_FULL_RANGE = 2


class Converters:
    """Converters of libswscale for the frames of one feed: each keeps its tables, and serves one thread at a time."""

    def __init__(self) -> None:
        self._idle: deque[VideoReformatter] = deque(maxlen=_KEPT)

    def to_bgr(self, picture: VideoFrame, threads: int | None = None) -> VideoFrame:
        """The frame as packed BGR. `threads` of libswscale; None: its own choice."""
        try:
            converter = self._idle.pop()
        except IndexError:
            converter = VideoReformatter()
        converted = converter.reformat(picture, format="bgr24", threads=threads)
        self._idle.append(converter)
        return converted


class PictureFrame(FramePixels):
    """A decoded frame. It keeps the decoder's memory until it is released itself."""

    def __init__(self, picture: VideoFrame, whole: Converters, scaled: Converters) -> None:
        """`whole` and `scaled` convert frames of the stream's size, and scaled ones."""
        super().__init__((picture.width, picture.height))
        self._picture = picture
        self._whole = whole
        self._scaled = scaled

    def _to_bgr(self) -> Frame:
        converted = self._whole.to_bgr(self._picture)
        return np.require(converted.to_ndarray(), np.uint8, ["C_CONTIGUOUS", "WRITEABLE"])

    def _write_bgr(self, out: Frame, interpolation: int) -> None:
        picture = self._picture
        size_wh = (out.shape[1], out.shape[0])
        same_size = size_wh == self.size_wh
        if picture.format.name not in PLANAR:
            image = _rows(self._whole.to_bgr(picture), self.size_wh)
            if same_size:
                np.copyto(out, image)
            else:
                cv2.resize(image, size_wh, dst=out, interpolation=interpolation)
        elif not same_size:
            self._write_scaled(out, interpolation)
        elif self._as_opencv_converts:
            luma, *colours = planes_of(picture)
            cv2.cvtColorTwoPlane(luma, cv2.merge(colours), cv2.COLOR_YUV2BGR_NV12, dst=out)
        else:
            np.copyto(out, _rows(self._whole.to_bgr(picture), self.size_wh))

    @property
    def _as_opencv_converts(self) -> bool:
        """True if OpenCV's conversion, which can write to any memory, has this frame's matrix, range and size."""
        picture = self._picture
        even = not (picture.width % 2 or picture.height % 2)
        limited = picture.format.name == "yuv420p" and picture.color_range != _FULL_RANGE
        return even and limited and picture.colorspace in _BT_601

    def _write_scaled(self, out: Frame, interpolation: int) -> None:
        picture = self._picture
        size_wh = (out.shape[1], out.shape[0])
        small = VideoFrame.from_numpy_buffer(
            scaled_i420(planes_of(picture), size_wh, interpolation), picture.format.name
        )
        small.colorspace, small.color_range = picture.colorspace, picture.color_range
        converted = self._scaled.to_bgr(small, threads=1)
        np.copyto(out, _rows(converted, size_wh))


def planes_of(picture: VideoFrame) -> tuple[Plane, Plane, Plane]:
    """The planes of a frame in one of `PLANAR`'s formats, in the decoder's memory."""
    luma, blue, red = (_rows_of_plane(plane) for plane in picture.planes)
    return luma, blue, red


def _rows_of_plane(plane: VideoPlane) -> Plane:
    return _bytes_of(plane)[: plane.height, : plane.width]


def _bytes_of(plane: VideoPlane) -> Plane:
    """All bytes of a plane in its own memory, with the padding of its rows."""
    memory: Any = plane  # supports the buffer protocol, which its stub does not declare
    return np.frombuffer(memory, np.uint8).reshape(-1, plane.line_size)


def _rows(picture: VideoFrame, size_wh: tuple[int, int]) -> Frame:
    """The first `size_wh` pixels of a packed BGR frame, in its own memory."""
    width, height = size_wh
    (plane,) = picture.planes
    return _bytes_of(plane)[:height, : width * 3].reshape(height, width, 3)
