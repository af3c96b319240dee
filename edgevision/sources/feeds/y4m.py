"""Reader of YUV4MPEG2, the format in which gst-launch-1.0 delivers frames through a pipe."""

from __future__ import annotations

import os
import re
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from edgevision.errors import SourceError

Planes = npt.NDArray[np.uint8]
"""uint8 ``[h * 3 / 2, w]``: the three planes of an I420 frame."""
LONGEST_LINE = 1024
_LINE_BYTES = 4096
_FRAME = b"FRAME\n"
_HEADER = b"YUV4MPEG2"
_NO_FRAMES = "the program wrote data other than frames"


class Y4mReader:
    """Reads frames from a pipe into their own memory.

    The stream begins with a header, which repeats if the size changes. GStreamer's y4menc pads rows to multiples of 4
    bytes in some versions, which the format does not allow and the header does not state. The bytes after the first
    frame of a size show whether its rows are padded.
    """

    def __init__(self, file: int) -> None:
        """`file` is the descriptor of the pipe's read end, which stays the caller's."""
        self._file = file
        self.size_wh: tuple[int, int] | None = None
        self.fps: float | None = None
        self._rest = b""
        """Bytes that were read and belong to no frame yet."""
        self._pixels: Planes | None = None
        self._filled = 0
        self._padded: bool | None = None

    @property
    def begun(self) -> bool:
        """True if part of the next frame is there."""
        return bool(self._rest) or self._pixels is not None

    def receive(self) -> bool:
        """Read once, waiting if nothing is there; False at the end of the stream."""
        if self._pixels is not None and self._filled < len(self._pixels):
            count = os.readv(self._file, [self._pixels[self._filled :].data])
            self._filled += count
            return count > 0
        data = os.read(self._file, _LINE_BYTES)
        self._rest += data
        return bool(data)

    def frame(self, *, paused: bool = False) -> Planes | None:
        """The next complete frame, or None. Raises `SourceError` for other data.

        `paused`: the stream ended, or no byte came for a while, so that the program is not within a frame.
        """
        if self._pixels is None and not self._begin():
            return None
        assert self.size_wh is not None
        assert self._pixels is not None
        width, height = self.size_wh
        plain, padded = width * height * 3 // 2, _padded_bytes(width, height)
        if self._padded is None:
            self._padded = self._is_padded(plain, padded, paused=paused)
        if self._padded is None:
            return None
        count = padded if self._padded else plain
        if self._filled < count:
            return None
        pixels = self._pixels[:count]
        self._rest = self._pixels[count : self._filled].tobytes() + self._rest
        self._pixels = None
        return _without_padding(pixels, width, height) if self._padded else pixels.reshape(-1, width)

    def header(self) -> bool:
        """Read a header, if one is next; True once the size is known. Raises `SourceError` for other data."""
        while self.size_wh is None or (self._rest and self._rest.startswith(_HEADER[: len(self._rest)])):
            line, found, rest = self._rest.partition(b"\n")
            if not found:
                if len(line) > LONGEST_LINE:
                    raise SourceError(_NO_FRAMES)
                return False
            self._read_header(line)
            self._rest = rest
        return True

    def _begin(self) -> bool:
        """Read the line before a frame, and provide the frame's memory; False until the line has come."""
        if not self.header() or len(self._rest) < len(_FRAME):
            return False
        if not self._rest.startswith(_FRAME):
            raise SourceError(_NO_FRAMES)
        assert self.size_wh is not None
        width, height = self.size_wh
        size = width * height * 3 // 2 if self._padded is False else _padded_bytes(width, height)
        if self._padded is None:
            size += len(_FRAME)
        self._pixels = np.empty(size, np.uint8)
        begin = self._rest[len(_FRAME) : len(_FRAME) + size]
        self._pixels[: len(begin)] = np.frombuffer(begin, np.uint8)
        self._filled = len(begin)
        self._rest = self._rest[len(_FRAME) + size :]
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
        assert self._pixels is not None
        after = self._pixels[plain : min(self._filled, plain + len(_FRAME))].tobytes()
        if len(after) == len(_FRAME):
            return after not in (_FRAME, _HEADER[: len(_FRAME)])
        return self._filled >= padded if paused else None


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
