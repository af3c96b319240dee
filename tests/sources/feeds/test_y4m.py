"""Frames out of YUV4MPEG2, with and without padded rows."""

from __future__ import annotations

import contextlib
import os
import shutil

import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.sources.feeds.gstreamer import LaunchFeed
from edgevision.sources.feeds.launched import LAUNCHER
from edgevision.sources.feeds.y4m import Planes, Y4mReader


def planes(width: int, height: int, seed: int) -> Planes:
    return np.random.default_rng(seed).integers(0, 256, (height * 3 // 2, width), np.uint8)


def padded(frame: Planes) -> bytes:
    """Rows of each plane, filled to multiples of 4 bytes."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    rows = [*frame[:height], *frame[height:].reshape(-1, width // 2)]
    return b"".join(row.tobytes() + b"\xaa" * (-len(row) % 4) for row in rows)


def header(width: int, height: int) -> bytes:
    return f"YUV4MPEG2 C420 W{width} H{height} Ip F30:1 A1:1\n".encode()


class Pipe:
    """A reader, and the other end of its pipe."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self.reader = Y4mReader(self.read_end)

    def write(self, data: bytes) -> None:
        """Write, and let the reader receive everything."""
        os.write(self.write_end, data)
        with contextlib.suppress(BlockingIOError):
            while self.reader.receive():
                pass

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.read_end)
        os.close(self.write_end)


@pytest.mark.parametrize("step", [1, 7, 100_000])
@pytest.mark.parametrize("pads", [True, False], ids=["padded", "plain"])
@pytest.mark.parametrize("size_wh", [(16, 4), (14, 4), (22, 6), (102, 80)])
def test_frames_in_pieces(size_wh: tuple[int, int], pads: bool, step: int) -> None:
    frames = [planes(*size_wh, seed) for seed in range(3)]
    data = header(*size_wh)
    for frame in frames:
        data += b"FRAME\n" + (padded(frame) if pads else frame.tobytes())
    found = []
    with Pipe() as pipe:
        for start in range(0, len(data), step):
            pipe.write(data[start : start + step])
            while (frame_or_none := pipe.reader.frame()) is not None:
                found.append(frame_or_none)
        assert (pipe.reader.size_wh, pipe.reader.fps) == (size_wh, 30.0)
    assert len(found) == 3
    for frame, expected in zip(found, frames, strict=True):
        np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize("pads", [True, False], ids=["padded", "plain"])
def test_a_single_frame_is_decided_by_its_length(pads: bool) -> None:
    frame = planes(14, 4, 0)
    with Pipe() as pipe:
        pipe.write(header(14, 4) + b"FRAME\n" + (padded(frame) if pads else frame.tobytes()))
        found = pipe.reader.frame(paused=True)
    assert found is not None
    np.testing.assert_array_equal(found, frame)


def test_a_new_header_changes_the_size() -> None:
    first, second = planes(16, 4, 0), planes(8, 2, 1)
    data = header(16, 4) + b"FRAME\n" + first.tobytes() + header(8, 2) + b"FRAME\n" + second.tobytes()
    with Pipe() as pipe:
        pipe.write(data)
        found = [pipe.reader.frame(), pipe.reader.frame(), pipe.reader.frame()]
    assert [None if frame is None else frame.shape for frame in found] == [(6, 16), (3, 8), None]


@pytest.mark.parametrize("data", [b"hello\n", b"x" * 2000, header(16, 4) + b"GAME\n-"])
def test_other_data_is_an_error(data: bytes) -> None:
    with Pipe() as pipe:
        pipe.write(data)
        with pytest.raises(SourceError, match="wrote data other than frames"):
            pipe.reader.frame()


@pytest.mark.skipif(shutil.which(LAUNCHER) is None, reason="no gst-launch-1.0")
@pytest.mark.parametrize("width", [854, 1366])
def test_gstreamers_rows_of_odd_widths(width: int) -> None:
    """Colour bars: the first is white, the last one of the upper part blue, also in the last row."""
    pipeline = f"videotestsrc num-buffers=2 ! video/x-raw,format=I420,width={width},height=240"
    feed = LaunchFeed(pipeline, connect_timeout_s=10, read_timeout_s=10)
    image = feed.read().image_bgr
    feed.close()
    assert image.shape == (240, width, 3)
    for row in (0, 150):
        assert image[row, 20].min() > 240
        np.testing.assert_allclose(image[row, width - 20], (255, 0, 0), atol=10)
