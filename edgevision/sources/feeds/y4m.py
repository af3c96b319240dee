"""Parser of YUV4MPEG2, the format in which gst-launch-1.0 delivers frames through a pipe."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from edgevision.errors import SourceError

Planes = npt.NDArray[np.uint8]
"""uint8 ``[h * 3 / 2, w]``: the three planes of an I420 frame."""
LONGEST_LINE = 1024
_FRAME = b"FRAME\n"
_HEADER = b"YUV4MPEG2"
_NO_FRAMES = "the program wrote data other than frames"


class Y4mParser:
    """Splits a stream of bytes into frames. The stream begins with a header, which repeats if the size changes.

    GStreamer's y4menc pads rows to multiples of 4 bytes in some versions, which the format does not allow and the
    header does not tell. The data after the first frame of a size decides whether its rows are padded.
    """

    def __init__(self) -> None:
        self.size_wh: tuple[int, int] | None = None
        self.fps: float | None = None
        self._data = bytearray()
        self._padded: bool | None = None

    @property
    def begun(self) -> bool:
        """True if part of the next frame is there."""
        return bool(self._data)

    def add(self, data: bytes) -> None:
        """Append received bytes."""
        self._data += data

    def frame(self, *, paused: bool = False) -> Planes | None:
        """The next complete frame, or None. Raises `SourceError` for other data.

        `paused`: the stream ended, or no byte came for a while, so that the program is not within a frame.
        """
        if not self.header():
            return None
        assert self.size_wh is not None
        width, height = self.size_wh
        if len(self._data) < len(_FRAME):
            return None
        if not self._data.startswith(_FRAME):
            raise SourceError(_NO_FRAMES)
        plain, padded = width * height * 3 // 2, _padded_bytes(width, height)
        if self._padded is None:
            self._padded = self._is_padded(plain, padded, paused=paused)
        if self._padded is None:
            return None
        end = len(_FRAME) + (padded if self._padded else plain)
        if len(self._data) < end:
            return None
        pixels = np.frombuffer(bytes(self._data[len(_FRAME) : end]), np.uint8)
        del self._data[:end]
        return _without_padding(pixels, width, height) if self._padded else pixels.reshape(-1, width)

    def header(self) -> bool:
        """Read a header, if one is next; True once the size is known. Raises `SourceError` for other data."""
        while self.size_wh is None or self._data.startswith(_HEADER[: max(1, len(self._data))]):
            end = self._data.find(b"\n")
            if end < 0:
                if len(self._data) > LONGEST_LINE:
                    raise SourceError(_NO_FRAMES)
                return False
            self._read_header(bytes(self._data[:end]))
            del self._data[: end + 1]
        return True

    def _read_header(self, line: bytes) -> None:
        fields = {word[:1]: word[1:] for word in line.split()[1:]}
        if not line.startswith(_HEADER) or not (fields.get(b"W") and fields.get(b"H")):
            raise SourceError(_NO_FRAMES)
        width, height = int(fields[b"W"]), int(fields[b"H"])
        if width % 2 or height % 2:
            raise SourceError(
                f"frames are {width}x{height}; expected even numbers: end the pipeline with videoscale !"
                f" video/x-raw,width={width // 2 * 2},height={height // 2 * 2}"
            )
        rate = re.fullmatch(rb"(\d+):(\d+)", fields.get(b"F", b""))
        if rate and int(rate[1]) and int(rate[2]):
            self.fps = float(Fraction(int(rate[1]), int(rate[2])))
        self.size_wh = (width, height)
        self._padded = False if _padded_bytes(width, height) == width * height * 3 // 2 else None

    def _is_padded(self, plain: int, padded: int, *, paused: bool) -> bool | None:
        """Whether the rows of the first frame are padded; None until enough bytes have come."""
        after = bytes(self._data[len(_FRAME) + plain :][: len(_FRAME)])
        if len(after) == len(_FRAME):
            return after not in (_FRAME, _HEADER[: len(_FRAME)])
        return len(self._data) >= len(_FRAME) + padded if paused else None


def _padded_bytes(width: int, height: int) -> int:
    return -(-width // 4) * 4 * height + -(-(width // 2) // 4) * 4 * height


def _without_padding(pixels: Planes, width: int, height: int) -> Planes:
    """Copy the planes of a frame with rows padded to multiples of 4 bytes."""
    luma_row, colour_row = -(-width // 4) * 4, -(-(width // 2) // 4) * 4
    planes = np.empty((height * 3 // 2, width), np.uint8)
    planes[:height] = pixels[: luma_row * height].reshape(height, luma_row)[:, :width]
    colours = pixels[luma_row * height :].reshape(height, colour_row)
    planes[height:] = colours[:, : width // 2].reshape(height // 2, width)
    return planes
