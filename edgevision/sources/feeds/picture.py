"""Frames of PyAV's decoders, scaled in their planes before they are converted to BGR."""

from __future__ import annotations

import functools
from collections import deque
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from edgevision.contract.image import Frame
from edgevision.contract.pixels import (
    UNSPECIFIED,
    WEIGHTS,
    FramePixels,
    Matrix,
    Plane,
    Planes,
    YuvColour,
    YuvPlanes,
    bgr_matrix,
    scale_into,
    write_planes,
)

PLANAR = frozenset(("yuv420p", "yuvj420p"))
"""Formats with three planes of 8 bits, the colours at half the size."""
_KEPT = 4
"""Idle converters of one feed; more run at once only while more threads convert."""
_FULL_RANGE = 2
_LIBSWSCALE_OFFSET = -1.0
"""libswscale's fast conversion truncates its sums; on average its levels are this much below the exact ones."""


class Converters:
    """Converters of libswscale for the frames of one feed: each keeps its tables, and serves one thread at a time."""

    def __init__(self) -> None:
        self._idle: deque[VideoReformatter] = deque(maxlen=_KEPT)

    def to_bgr(self, picture: VideoFrame, threads: int | None = None) -> VideoFrame:
        """The frame as packed BGR. `threads` of libswscale; None: its own choice."""
        return self._to(picture, "bgr24", threads)

    def to_planes(self, picture: VideoFrame) -> VideoFrame:
        """The frame in `yuv420p`, with its matrix and range."""
        converted = self._to(picture, "yuv420p", None)
        converted.colorspace, converted.color_range = picture.colorspace, picture.color_range
        return converted

    def _to(self, picture: VideoFrame, pixels: str, threads: int | None) -> VideoFrame:
        try:
            converter = self._idle.pop()
        except IndexError:
            converter = VideoReformatter()
        converted = converter.reformat(picture, format=pixels, threads=threads)
        self._idle.append(converter)
        return converted


class PictureFrame(FramePixels):
    """A decoded frame. It keeps the decoder's memory until it is released itself."""

    def __init__(self, picture: VideoFrame, converters: Converters) -> None:
        super().__init__((picture.width, picture.height))
        self._picture = picture
        self._converters = converters
        self._planes: YuvPlanes | None = None

    @property
    def planes(self) -> YuvPlanes | None:
        """Of 8 bits and 4:2:0 the decoder's own; other formats are converted once, at their size and in their colour.

        None for RGB and for matrices that are not in `WEIGHTS`.
        """
        colour = _colour_of(self._picture)
        if colour is None:
            return None
        with self._lock:
            if self._planes is None:
                self._planes = self._to_planes(colour)
            return self._planes

    def _to_planes(self, colour: YuvColour) -> YuvPlanes:
        picture = self._picture
        if picture.format.name == "nv12":
            luma, pairs = picture.planes
            chroma = _bytes_of(pairs)[: pairs.height, : 2 * pairs.width]
            return YuvPlanes(_rows_of_plane(luma), (chroma.reshape(pairs.height, pairs.width, 2),), colour)
        if picture.format.name not in PLANAR:
            picture = self._converters.to_planes(picture)
        first, blue, red = planes_of(picture)
        return YuvPlanes(first, (blue, red), colour)

    def _to_bgr(self) -> Frame:
        converted = self._converters.to_bgr(self._picture)
        return np.require(converted.to_ndarray(), np.uint8, ["C_CONTIGUOUS", "WRITEABLE"])

    def _write_bgr(self, out: Frame, interpolation: int) -> None:
        picture = self._picture
        matrix = _matrix_of(picture)
        if (out.shape[1], out.shape[0]) != self.size_wh and matrix is not None:
            write_planes(planes_of(picture), out, interpolation, matrix)
        elif self._as_opencv_converts:
            luma, *colours = planes_of(picture)
            cv2.cvtColorTwoPlane(luma, cv2.merge(colours), cv2.COLOR_YUV2BGR_NV12, dst=out)
        else:
            scale_into(_rows(self._converters.to_bgr(picture), self.size_wh), out, interpolation)

    @property
    def _as_opencv_converts(self) -> bool:
        """True for a whole frame that OpenCV converts into any memory: BT.601, limited range, even size."""
        picture = self._picture
        even = not (picture.width % 2 or picture.height % 2)
        limited = picture.format.name == "yuv420p" and picture.color_range != _FULL_RANGE
        return even and limited and WEIGHTS.get(picture.colorspace) == WEIGHTS[UNSPECIFIED]


def _matrix_of(picture: VideoFrame) -> Matrix | None:
    """The matrix to BGR; None for a format or colour space whose planes are not scaled."""
    colour = _colour_of(picture)
    return None if picture.format.name not in PLANAR or colour is None else _matrix(colour)


def _colour_of(picture: VideoFrame) -> YuvColour | None:
    """Matrix and range; None for RGB, and for a matrix that is not in `WEIGHTS`."""
    if picture.colorspace not in WEIGHTS or picture.format.is_rgb:
        return None
    full = picture.format.name.startswith("yuvj") or picture.color_range == _FULL_RANGE
    return YuvColour(int(picture.colorspace), full_range=full)


@functools.cache
def _matrix(colour: YuvColour) -> Matrix:
    return bgr_matrix(*WEIGHTS[colour.matrix], full_range=colour.full_range, offset=_LIBSWSCALE_OFFSET)


def planes_of(picture: VideoFrame) -> Planes:
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
