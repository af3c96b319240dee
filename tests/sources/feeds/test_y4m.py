"""Frames out of YUV4MPEG2, with and without padded rows."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.sources.feeds.gstreamer import LaunchFeed
from edgevision.sources.feeds.launched import LAUNCHER
from edgevision.sources.feeds.y4m import Planes, Y4mParser


def planes(width: int, height: int, seed: int) -> Planes:
    return np.random.default_rng(seed).integers(0, 256, (height * 3 // 2, width), np.uint8)


def padded(frame: Planes) -> bytes:
    """Rows of each plane, filled to multiples of 4 bytes."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    rows = [*frame[:height], *frame[height:].reshape(-1, width // 2)]
    return b"".join(row.tobytes() + b"\xaa" * (-len(row) % 4) for row in rows)


def header(width: int, height: int) -> bytes:
    return f"YUV4MPEG2 C420 W{width} H{height} Ip F30:1 A1:1\n".encode()


@pytest.mark.parametrize("step", [1, 7, 100_000])
@pytest.mark.parametrize("pads", [True, False], ids=["padded", "plain"])
@pytest.mark.parametrize("size_wh", [(16, 4), (14, 4), (22, 6)])
def test_frames_in_pieces(size_wh: tuple[int, int], pads: bool, step: int) -> None:
    frames = [planes(*size_wh, seed) for seed in range(3)]
    data = header(*size_wh)
    for frame in frames:
        data += b"FRAME\n" + (padded(frame) if pads else frame.tobytes())
    parser = Y4mParser()
    found = []
    for start in range(0, len(data), step):
        parser.add(data[start : start + step])
        while (frame_or_none := parser.frame()) is not None:
            found.append(frame_or_none)
    assert len(found) == 3
    for frame, expected in zip(found, frames, strict=True):
        np.testing.assert_array_equal(frame, expected)
    assert (parser.size_wh, parser.fps) == (size_wh, 30.0)


@pytest.mark.parametrize("pads", [True, False], ids=["padded", "plain"])
def test_a_single_frame_is_decided_by_its_length(pads: bool) -> None:
    parser, frame = Y4mParser(), planes(14, 4, 0)
    parser.add(header(14, 4) + b"FRAME\n" + (padded(frame) if pads else frame.tobytes()))
    found = parser.frame(paused=True)
    assert found is not None
    np.testing.assert_array_equal(found, frame)


def test_a_new_header_changes_the_size() -> None:
    parser, first, second = Y4mParser(), planes(16, 4, 0), planes(8, 2, 1)
    parser.add(header(16, 4) + b"FRAME\n" + first.tobytes() + header(8, 2) + b"FRAME\n" + second.tobytes())
    found = [parser.frame(), parser.frame(), parser.frame()]
    assert [None if frame is None else frame.shape for frame in found] == [(6, 16), (3, 8), None]


@pytest.mark.parametrize("data", [b"hello\n", b"x" * 2000, header(16, 4) + b"GAME\n-"])
def test_other_data_is_an_error(data: bytes) -> None:
    parser = Y4mParser()
    parser.add(data)
    with pytest.raises(SourceError, match="wrote data other than frames"):
        parser.frame()


@pytest.mark.skipif(shutil.which(LAUNCHER) is None, reason="no gst-launch-1.0")
@pytest.mark.parametrize("width", [854, 1366])
def test_gstreamers_rows_of_odd_widths(width: int) -> None:
    """Colour bars: the first is white, the last one of the upper part blue, also in the last row."""
    pipeline = f"videotestsrc num-buffers=2 ! video/x-raw,format=I420,width={width},height=240"
    feed = LaunchFeed(pipeline, connect_timeout_s=10, read_timeout_s=10)
    image = feed.read().to_bgr()
    feed.close()
    assert image.shape == (240, width, 3)
    for row in (0, 150):
        assert image[row, 20].min() > 240
        np.testing.assert_allclose(image[row, width - 20], (255, 0, 0), atol=10)
