"""Valid and invalid images, folders and videos."""

from __future__ import annotations

import logging
import shutil
import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.contract.image import Frame
from edgevision.errors import SourceError
from edgevision.sources.frames import Source
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions

WIDTH, HEIGHT = 64, 48


def picture(value: int = 90, size_wh: tuple[int, int] = (WIDTH, HEIGHT)) -> Frame:
    return np.full((size_wh[1], size_wh[0], 3), value, np.uint8)


def write_video(path: Path, count: int, *, fps: float = 25.0, codec: str = "MJPG") -> Path:
    """Frame n is grey of level 5 n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(count):
        writer.write(picture(5 * number))
    writer.release()
    return path


def levels(source: Source) -> list[int]:
    return [round(float(frame.image_bgr.mean()) / 5) for frame in source]


def test_a_video_gives_every_frame_once_and_in_order(tmp_path: Path) -> None:
    with open_source(write_video(tmp_path / "v.avi", 12)) as source:
        assert (source.live, source.fps, source.frame_count) == (False, 25.0, 12)
        assert source.size_wh == (WIDTH, HEIGHT)
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(12))
    assert [round(float(frame.image_bgr.mean()) / 5) for frame in frames] == list(range(12))
    assert [frame.position_s for frame in frames] == pytest.approx([n / 25 for n in range(12)])
    assert {frame.source for frame in frames} == {str(tmp_path / "v.avi")}
    assert all(frame.decode_ns > 0 for frame in frames)
    stamps = [frame.captured_ns for frame in frames]
    assert stamps == sorted(stamps)
    assert abs(frames[0].captured_at - time.time()) < 60
    assert source.read() is None


def test_frames_are_not_the_same_memory(tmp_path: Path) -> None:
    with open_source(write_video(tmp_path / "v.avi", 3)) as source:
        first, second, third = source
    assert not np.shares_memory(first.image_bgr, second.image_bgr)
    assert first.image_bgr.mean() < second.image_bgr.mean() < third.image_bgr.mean()


def test_a_first_frame_does_not_age_while_the_source_waits_to_be_read(tmp_path: Path) -> None:
    with open_source(write_video(tmp_path / "v.avi", 1)) as source:
        time.sleep(0.3)
        frame = source.read()
    assert frame is not None
    assert time.perf_counter_ns() - frame.captured_ns < 0.25e9


def test_a_truncated_video_is_read_as_far_as_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_video(tmp_path / "whole.avi", 30).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    with open_source(cut) as source, caplog.at_level(logging.WARNING):
        found = levels(source)
    assert 5 < len(found) < 30
    assert found == list(range(len(found)))
    assert caplog.messages == [
        f"{cut}: read {len(found)} of 30 frames according to its header; the file is truncated or damaged"
    ]


def test_a_whole_video_gives_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_source(write_video(tmp_path / "v.mp4", 7, codec="mp4v")) as source:
        assert len(list(source)) == 7
    assert not caplog.messages


def test_the_street_video_is_read_whole(data_dir: Path) -> None:
    with open_source(data_dir / "video" / "vtest.avi") as source:
        assert (source.size_wh, source.fps, source.frame_count) == ((768, 576), 10.0, 795)
        assert [frame.index for frame in source] == list(range(795))


def test_a_video_that_changes_size_is_read_to_its_end(tmp_path: Path) -> None:
    sizes = [(64, 48)] * 3 + [(32, 80)] * 3
    encoded = [cv2.imencode(".jpg", picture(20 * n, size))[1].tobytes() for n, size in enumerate(sizes)]
    (tmp_path / "changing.mjpeg").write_bytes(b"".join(encoded))
    with open_source(tmp_path / "changing.mjpeg") as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(6))
    # What comes of the later ones is up to OpenCV's build; a frame of another size has its own `size_wh`.
    assert all(frame.size_wh in set(sizes) for frame in frames)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_video_without_frames_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"zero{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (WIDTH, HEIGHT))
    writer.release()
    with pytest.raises(SourceError, match="video without a frame|cannot be opened|can open"):
        open_source(path)


def test_a_video_without_its_index_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "v.mp4", 30, codec="mp4v").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"cut\.mp4 is neither an image nor a video that OpenCV can open"):
        open_source(tmp_path / "cut.mp4")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.array([[10, 200]], np.uint8), [[[10, 10, 10], [200, 200, 200]]]),
        (np.array([[[1, 2, 3, 0], [4, 5, 6, 255]]], np.uint8), [[[1, 2, 3], [4, 5, 6]]]),
        (np.array([[0, 65535]], np.uint16), [[[0, 0, 0], [255, 255, 255]]]),
        (np.array([[[7, 8, 9]]], np.uint8), [[[7, 8, 9]]]),
    ],
    ids=["grey", "alpha", "16 bit", "1x1"],
)
def test_unusual_images_are_converted_to_bgr_frames(
    tmp_path: Path,
    image: np.ndarray,
    expected: list[object],
) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), image)
    with open_source(tmp_path / "image.png") as source:
        (frame,) = source
    assert frame.image_bgr.dtype == np.uint8
    assert frame.image_bgr.tolist() == expected
    assert frame.position_s is None


def test_an_exif_orientation_is_applied(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", picture(size_wh=(40, 20)))[1].tobytes()
    # TIFF, little endian; one entry: tag 0x0112, one SHORT, value 6: turn right by 90 degrees.
    tiff = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    (tmp_path / "turned.jpg").write_bytes(turned)
    assert open_source(tmp_path / "turned.jpg").size_wh == (20, 40)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"this is text", "is not an image that OpenCV can decode"),
        (cv2.imencode(".png", picture())[1].tobytes()[:60], "is not an image that OpenCV can decode"),
    ],
    ids=["empty", "text", "truncated"],
)
def test_an_invalid_image_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_read_sorted_with_its_sub_folders(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "b").mkdir()
    for name, level in (("c.png", 3), ("a.PNG", 1), ("b/a.png", 2)):
        cv2.imwrite(str(tmp_path / name), picture(5 * level))
    (tmp_path / "notes.txt").write_text("not an image")
    with open_source(tmp_path) as source:
        assert (source.frame_count, source.fps, source.live) == (3, None, False)
        frames = list(source)
    assert [frame.source for frame in frames] == [
        str(tmp_path / name) for name in ("a.PNG", "b/a.png", "c.png")
    ]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert caplog.messages == [f"{tmp_path}: ignored 1 of 4 files, which do not have the suffix of an image"]


def test_a_folder_continues_after_a_bad_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), picture())
    (tmp_path / "b.png").write_bytes(b"broken")
    with open_source(tmp_path) as source:
        assert [Path(frame.source).name for frame in source] == ["a.png", "c.png"]
        assert source.skipped == 1
    (message,) = caplog.messages
    assert "b.png" in message
    assert message.endswith("; skipped")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no images among its 0 files"),
        ({"a.png": b"x", "b.png": b"y"}, "none of the 2 image files"),
    ],
)
def test_a_folder_without_a_usable_image_is_refused(
    tmp_path: Path, content: dict[str, bytes], message: str
) -> None:
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=message):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.mp4", "no such file or folder: nowhere.mp4"),
        ("ftp://user:secret@host/1", r"ftp:// is not a known scheme; expected an image, a folder, a video"),
        (
            "rtsp://user:secret@127.0.0.1:9/1?pw=secret",
            r"rtsp://127\.0\.0\.1:9/1 delivers no frames: Connection refused",
        ),
    ],
)
def test_a_missing_source_is_named(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        open_source(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("name", "content"), [("notes.md", b"hello\n" * 9), ("empty.mp4", b"")])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match="is empty|neither an image nor a video"):
        open_source(tmp_path / name)


def test_a_folder_that_vanishes_while_it_is_read_is_skipped_over(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), picture())
    source = open_source(tmp_path)
    shutil.rmtree(tmp_path)
    assert len(list(source)) == 1
    assert source.skipped == 1


def test_a_closed_source_ends(tmp_path: Path) -> None:
    source = open_source(write_video(tmp_path / "v.avi", 3))
    source.close()
    source.close()
    assert source.read() is None


@pytest.mark.parametrize(
    "address", ["demo:", "loop:a.mp4", "0", "csi://0", "gst:videotestsrc", "a.png", "photos", "*.png"]
)
def test_hardware_is_refused_without_a_stream_to_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a.png", "photos/b.png"):
        cv2.imwrite(name, np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(SourceError, match="has no video stream for a hardware decoder; .*--decoder auto"):
        open_source(address, CameraOptions(decoder="hardware"))
