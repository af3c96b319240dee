"""Clips of four kinds of colours, from the file to what the network sees; and clips whose planes need care."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edgevision.benchmark.bench import RepeatedSource
from edgevision.contract.image import fit_frame
from edgevision.contract.nv12 import JPEG, KINDS, Nv12Parts, bgr_from_nv12
from edgevision.contract.pixels import BT_709, Bgr, YuvColour
from edgevision.contract.spec import FrameInput
from edgevision.sources.feeds.picture import PictureFrame
from edgevision.sources.feeds.planes_capture import PlanesCapture
from edgevision.sources.frames import SourceFrame
from edgevision.sources.opening import open_source

PATCHES = np.array(
    [
        [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)],
        [(0, 0, 0), (114, 114, 114), (30, 90, 200), (200, 120, 20)],
    ],
    np.uint8,
)
"""Colours in BGR."""
LEVELS = 3.0
"""Largest difference of a colour: rounding of planes, the encoder's quantizer, and the conversion."""


def image_of(size_wh: tuple[int, int]) -> Bgr:
    return np.asarray(cv2.resize(PATCHES, size_wh, interpolation=cv2.INTER_NEAREST), np.uint8)


def levels_of(image: Bgr, colour: YuvColour) -> npt.NDArray[np.float64]:
    """Y, Cb and Cr ``[H,W,3]`` in float64 by the standards' own equations, without edgevision's matrices."""
    kr, kb = (0.2126, 0.0722) if colour.matrix == BT_709 else (0.299, 0.114)
    blue, green, red = (image[..., channel] / 255 for channel in range(3))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    if colour.full_range:
        return np.stack([255 * luma, *(128 + 255 * part for part in chroma)], -1)
    return np.stack([16 + 219 * luma, *(128 + 224 * part for part in chroma)], -1)


def write_tagged(
    path: Path,
    colour: YuvColour,
    size_wh: tuple[int, int] = (128, 64),
    *,
    pixels: str = "yuv420p",
    codec: str = "libx264",
    count: int = 5,
) -> Path:
    """A clip of the patches whose planes are computed by `levels_of`, not by libswscale."""
    width, height = size_wh
    planes = levels_of(image_of(size_wh), colour)
    depth = 10 if "10" in pixels else 8
    values = (planes * 2 ** (depth - 8)).round().clip(0, 2**depth - 1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.options = {"qp": "0", "x265-params": "log-level=none:lossless=1"} if "x26" in codec else {}
        stream.codec_context.colorspace = colour.matrix
        stream.codec_context.color_range = 2 if colour.full_range else 1
        for index in range(count):
            frame = av.VideoFrame(width, height, pixels)
            fill(frame, values, depth)
            frame.colorspace, frame.color_range = colour.matrix, 2 if colour.full_range else 1
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def fill(frame: av.VideoFrame, values: npt.NDArray[np.float64], depth: int) -> None:
    dtype = np.dtype("<u2") if depth > 8 else np.dtype(np.uint8)
    for plane, channel in zip(frame.planes, (0, 1, 2), strict=True):
        step_x, step_y = -(-frame.width // plane.width), -(-frame.height // plane.height)
        part = values[step_y // 2 :: step_y, step_x // 2 :: step_x, channel]
        rows = np.zeros((plane.height, plane.line_size // dtype.itemsize), dtype)
        rows[: part.shape[0], : part.shape[1]] = part
        rows[part.shape[0] :] = rows[part.shape[0] - 1]
        rows[:, part.shape[1] : plane.width] = part[-1:, -1:]
        plane.update(rows.tobytes())


def frames_of(path: Path) -> list[SourceFrame]:
    with open_source(path) as source:
        source.use_planes()
        return list(source)


def assert_patches(seen: Bgr, size_wh: tuple[int, int], most: float = LEVELS) -> None:
    """The middle of each patch has its colour."""
    width, height = size_wh
    for row in range(2):
        for column in range(4):
            y, x = round((row + 0.5) * height / 2), round((column + 0.5) * width / 4)
            np.testing.assert_allclose(seen[y, x], PATCHES[row, column], atol=most, err_msg=f"{row} {column}")


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("colour", KINDS, ids=str)
def test_clips_of_four_kinds_have_their_colours(colour: YuvColour, codec: str, tmp_path: Path) -> None:
    pixels = "yuvj420p" if colour.full_range and codec == "libx264" else "yuv420p"
    clip = write_tagged(tmp_path / "clip.mp4", colour, pixels=pixels, codec=codec)
    frames = frames_of(clip)
    assert len(frames) == 5
    for target in (FrameInput((128, 64), "exact", layout="nv12"), FrameInput((64, 32), layout="nv12")):
        row, _ = fit_frame(frames[2].pixels, target)
        parts = Nv12Parts.of(row)
        assert parts.colour == colour
        assert_patches(bgr_from_nv12(row), target.size_wh)
    assert isinstance(frames[2].pixels, PictureFrame)
    assert frames[2].pixels._image is None, "nothing was converted to BGR"


@pytest.mark.parametrize(
    ("size_wh", "pixels", "codec", "name"),
    [
        ((854, 480), "yuv420p", "libx264", "clip.mp4"),
        ((1366, 768), "yuv420p", "libx264", "clip.mp4"),
        ((66, 34), "yuv420p", "ffv1", "clip.mkv"),
        ((67, 35), "yuv420p", "ffv1", "clip.mkv"),
        ((128, 64), "yuv420p10le", "libx265", "clip.mp4"),
        ((128, 64), "yuv422p", "libx264", "clip.mp4"),
        ((128, 64), "yuv444p", "libx264", "clip.mp4"),
        ((128, 64), "yuv444p10le", "ffv1", "clip.mkv"),
        ((127, 63), "yuv444p", "ffv1", "clip.mkv"),
    ],
    ids=str,
)
@pytest.mark.parametrize("colour", [KINDS[0], KINDS[3]], ids=str)
def test_other_sizes_and_formats_keep_their_colours(
    size_wh: tuple[int, int], pixels: str, codec: str, name: str, colour: YuvColour, tmp_path: Path
) -> None:
    clip = write_tagged(tmp_path / name, colour, size_wh, pixels=pixels, codec=codec, count=2)
    (first, _) = frames_of(clip)
    even = (size_wh[0] // 2 * 2, size_wh[1] // 2 * 2)
    targets = [FrameInput((64, 32), "stretch", layout="nv12")]
    if even == size_wh:
        targets.append(FrameInput(size_wh, "exact", layout="nv12"))
    for target in targets:
        row, _ = fit_frame(first.pixels, target)
        assert Nv12Parts.of(row).colour == colour
        assert_patches(bgr_from_nv12(row), target.size_wh)


def rotate(clip: Path) -> None:
    """Turn the display by 90 degrees: the matrix in the track's header (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30)
    clip.write_bytes(data)


def test_rotated_clips_are_shown_upright(tmp_path: Path) -> None:
    """Their planes are not used: OpenCV rotates the image, which is then converted."""
    clip = write_tagged(tmp_path / "clip.mp4", KINDS[0])
    rotate(clip)
    (first, *_) = frames_of(clip)
    assert isinstance(first.pixels, np.ndarray)
    assert first.size_wh == (64, 128)
    row, _ = fit_frame(first.pixels, FrameInput((64, 128), "exact", layout="nv12"))
    assert Nv12Parts.of(row).colour == JPEG
    np.testing.assert_allclose(bgr_from_nv12(row)[16, 16], PATCHES[1, 0], atol=6)


def test_frames_and_positions_are_those_of_opencv(tmp_path: Path) -> None:
    clip = write_tagged(tmp_path / "clip.mp4", KINDS[0], count=12)
    with open_source(clip) as source:
        expected = list(source)
    found = frames_of(clip)
    assert [frame.position_s for frame in found] == pytest.approx([frame.position_s for frame in expected])
    assert [frame.index for frame in found] == [frame.index for frame in expected] == list(range(12))
    capture = PlanesCapture(clip)
    assert (capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)) == (25, 12)
    capture.release()
    # OpenCV converts by BT.601 as well.
    np.testing.assert_allclose(found[3].image_bgr, expected[3].image_bgr, atol=3)


def test_a_source_that_was_read_keeps_its_form(tmp_path: Path) -> None:
    with open_source(write_tagged(tmp_path / "clip.mp4", KINDS[0])) as source:
        first = source.read()
        source.use_planes()
        second = source.read()
    assert first is not None
    assert second is not None
    assert second.index == 1
    assert isinstance(second.pixels, np.ndarray)


def test_several_files_give_their_planes(tmp_path: Path) -> None:
    clips = [write_tagged(tmp_path / f"{name}.mp4", KINDS[0], count=2) for name in "ab"]
    with open_source(tmp_path / "*.mp4") as source:
        source.use_planes()
        frames = list(source)
    assert len(frames) == 2 * len(clips)
    assert all(isinstance(frame.pixels, PictureFrame) for frame in frames)


def test_a_repeated_file_gives_its_planes_again(tmp_path: Path) -> None:
    clip = write_tagged(tmp_path / "clip.mp4", KINDS[0], count=2)
    with RepeatedSource(lambda: open_source(clip)) as source:
        source.use_planes()
        frames = [source.read() for _ in range(5)]
    assert all(frame is not None and isinstance(frame.pixels, PictureFrame) for frame in frames)
