"""The frame layout ``nv12``: the planes of video decoders, and the colour of each frame in a last row.

A frame is one array uint8 ``[H * 3/2 + 1, W]``, with H and W even:

=================  ==================================================================================
rows               content
=================  ==================================================================================
0 to H             luma
H to H * 3/2       chroma at half the size: Cb and Cr in turn
the last           the number of the matrix (ITU-T H.273), then 1 for the full range or 0; zeros
=================  ==================================================================================

The rows before the last are NV12 as decoders write it. Streams differ in matrix and range, and one batch holds frames
of several streams; the last row therefore travels with the frame, like the embedded data lines of image sensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.contract.pixels import (
    BT_601,
    UNSPECIFIED,
    WEIGHTS,
    Bgr,
    FramePixels,
    Plane,
    YuvColour,
    YuvPlanes,
    scale_into,
)

Nv12 = npt.NDArray[np.uint8]
"""uint8 ``[H * 3/2 + 1, W]``."""
JPEG = YuvColour(BT_601, full_range=True)
"""The colour of frames that are made from BGR images."""
KINDS = tuple(YuvColour(matrix, full_range=full) for matrix in (BT_601, 1) for full in (False, True))
"""BT.601 and BT.709, limited and full range."""


@dataclass(frozen=True, slots=True, eq=False)
class Nv12Parts:
    """Views into a frame."""

    luma: Plane
    chroma: Plane
    """``[H/2,W/2,2]``, Cb and Cr."""
    data: Plane
    """The last row."""

    @classmethod
    def of(cls, frame: Nv12) -> Nv12Parts:
        """Split a frame; raises `ValueError` if its rows are padded."""
        if not frame.flags.c_contiguous:
            raise ValueError("the rows of a frame in the layout nv12 follow each other without gaps")
        height, width = (len(frame) - 1) * 2 // 3, frame.shape[1]
        chroma = frame[height:-1].reshape(height // 2, width // 2, 2)
        return cls(frame[:height], chroma, frame[-1])

    @property
    def colour(self) -> YuvColour:
        """The colour in the last row; an unknown matrix counts as unspecified, as in the graph."""
        matrix = int(self.data[0])
        return YuvColour(matrix if matrix in WEIGHTS else UNSPECIFIED, full_range=bool(self.data[1]))

    def set_colour(self, colour: YuvColour) -> None:
        """Write the last row."""
        self.data[:] = 0
        self.data[:2] = colour.matrix, colour.full_range

    def pad(self, area: ContentArea, level: int) -> None:
        """Fill all but the area with a grey that is `level` in each channel of BGR; the colour is set before."""
        luma, blue, red = (round(value) for value in self.colour.from_bgr @ [level, level, level, 1])
        _fill_around(self.luma, *area.of_luma, luma)
        for channel, value in enumerate((blue, red)):
            _fill_around(self.chroma[..., channel], *area.of_chroma, value)


def _fill_around(plane: Plane, rows: slice, columns: slice, value: int) -> None:
    plane[: rows.start] = value
    plane[rows.stop :] = value
    plane[rows, : columns.start] = value
    plane[rows, columns.stop :] = value


@dataclass(frozen=True, slots=True)
class ContentArea:
    """A rectangle of a frame, in pixels of its luma."""

    left: int
    top: int
    width: int
    height: int

    @property
    def of_luma(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @property
    def of_chroma(self) -> tuple[slice, slice]:
        """Rows and columns of chroma. A value at an odd border belongs to the area."""
        rows, columns = (slice(side.start // 2, (side.stop + 1) // 2) for side in self.of_luma)
        return rows, columns


def write_scaled(planes: YuvPlanes, parts: Nv12Parts, area: ContentArea, interpolation: int) -> None:
    """Write planes into an area of a frame, scaled to its size; one copy of each plane if they have that size."""
    scale_into(planes.luma, parts.luma[area.of_luma], interpolation)
    out = parts.chroma[area.of_chroma]
    sides = (*planes.luma.shape, area.left, area.top, area.width, area.height)
    if any(side % 2 for side in sides):
        scaled = [_shifted(plane, planes.luma.shape, area, out) for plane in planes.chroma]
    elif len(planes.chroma) == 1:
        scale_into(planes.chroma[0], out, interpolation)
        return
    elif planes.chroma[0].shape == out.shape[:2]:
        scaled = list(planes.chroma)
    else:
        size_wh = (out.shape[1], out.shape[0])
        scaled = [
            np.asarray(cv2.resize(plane, size_wh, interpolation=interpolation), np.uint8)
            for plane in planes.chroma
        ]
    if len(scaled) == 1:
        np.copyto(out, scaled[0])
    else:
        cv2.merge(scaled, dst=out)


def _shifted(
    plane: Plane, luma_shape: tuple[int, ...], area: ContentArea, out: Plane
) -> npt.NDArray[np.uint8]:
    """Chroma for `out` if the frame or the area begins or ends within a value of chroma: bilinear at their centres."""
    scale_x, scale_y = luma_shape[1] / area.width, luma_shape[0] / area.height
    # The centre of value j is at luma's coordinate 2 j + 1; half of the source's luma coordinate is that of its chroma.
    to_source = np.array(
        [
            [scale_x, 0, (1 - area.left % 2) * scale_x / 2 - 0.5],
            [0, scale_y, (1 - area.top % 2) * scale_y / 2 - 0.5],
        ]
    )
    size_wh = (out.shape[1], out.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(plane, to_source, size_wh, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def write_bgr(image: Bgr, frame: Nv12, colour: YuvColour = JPEG) -> None:
    """Convert an image uint8 ``[H,W,3]`` BGR with even sides into a frame; chroma is the mean of four pixels."""
    parts = Nv12Parts.of(frame)
    parts.set_colour(colour)
    levels = cv2.transform(image, colour.from_bgr)
    cv2.extractChannel(levels, 0, dst=parts.luma)
    halves = cv2.resize(levels, (parts.chroma.shape[1], parts.chroma.shape[0]), interpolation=cv2.INTER_AREA)
    cv2.mixChannels([halves], [parts.chroma], [1, 0, 2, 1])


def nv12_from_bgr(image: Bgr, colour: YuvColour = JPEG) -> Nv12:
    """The frame of an image uint8 ``[H,W,3]`` BGR with even sides."""
    height, width = image.shape[:2]
    frame = np.empty((height * 3 // 2 + 1, width), np.uint8)
    write_bgr(image, frame, colour)
    return frame


def bgr_from_nv12(frame: Nv12) -> Bgr:
    """The image uint8 ``[H,W,3]`` BGR of a frame; chroma is interpolated."""
    parts = Nv12Parts.of(frame)
    height, width = parts.luma.shape
    chroma = cv2.resize(parts.chroma, (width, height), interpolation=cv2.INTER_LINEAR)
    levels = np.dstack([parts.luma, chroma])
    return np.asarray(cv2.transform(levels, parts.colour.to_bgr), np.uint8)


class Nv12Frame(FramePixels):
    """A frame in NV12 from elsewhere, such as a GStreamer buffer or a decoder of one's own.

    `luma` is uint8 ``[H,W]`` and `chroma` uint8 ``[H/2,W/2,2]``; rows of both may be padded.
    """

    def __init__(self, luma: Plane, chroma: Plane, colour: YuvColour) -> None:
        height, width = luma.shape
        expected = ((height + 1) // 2, (width + 1) // 2, 2)
        if luma.dtype != np.uint8 or chroma.dtype != np.uint8 or chroma.shape != expected:
            raise ValueError(
                f"chroma is {chroma.dtype} {list(chroma.shape)} beside luma {luma.dtype} {list(luma.shape)};"
                f" expected uint8 {list(expected)}"
            )
        super().__init__((width, height))
        self._planes = YuvPlanes(luma, (chroma,), colour)

    @property
    def planes(self) -> YuvPlanes:
        """The arrays themselves."""
        return self._planes

    def _to_bgr(self) -> Bgr:
        out = np.empty((self.size_wh[1], self.size_wh[0], 3), np.uint8)
        self._write_bgr(out, cv2.INTER_LINEAR)
        return out

    def _write_bgr(self, out: Bgr, interpolation: int) -> None:
        size_wh = (out.shape[1], out.shape[0])
        both = (self._planes.luma, *self._planes.chroma)
        scaled = [cv2.resize(plane, size_wh, interpolation=interpolation) for plane in both]
        cv2.transform(cv2.merge(scaled), self._planes.colour.to_bgr, dst=out)
