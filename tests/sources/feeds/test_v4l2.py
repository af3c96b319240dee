"""Options of a local camera, its driver's modes, and the requests to it; a fake ``/dev/video0``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgevision.errors import SourceError
from edgevision.sources.feeds import capture, v4l2
from edgevision.sources.feeds.v4l2 import DeviceOptions, Mode, best_mode, modes, parse_device, wanted_mode
from edgevision.sources.live import open_camera
from edgevision.sources.options import CameraOptions

WEBCAM = {
    # A common USB camera: raw frames are slow at full size, Motion JPEG is not.
    "YUYV": {(640, 480): [30, 15], (1280, 720): [10], (1920, 1080): [5]},
    "MJPG": {(640, 480): [30], (1280, 720): [60, 30], (1920, 1080): [30, 15], (3840, 2160): [30]},
}
RAW_ONLY = {"YUYV": {(640, 480): [30], (1280, 720): [10]}}


class Driver:
    """Answers the requests of V4L2 from a table of formats, sizes and rates, as a kernel does."""

    def __init__(self, table: dict[str, dict[tuple[int, int], list[int]]]) -> None:
        self.table = table

    def __call__(self, _: int, request: int, value: Any) -> int:
        formats = list(self.table)
        try:
            if request == v4l2.ENUM_FORMATS:
                assert value.type == 1
                value.pixelformat = int.from_bytes(formats[value.index].encode(), "little")
                return 0
            sizes = self.table[value.pixel_format.to_bytes(4, "little").decode()]
            if request == v4l2.ENUM_SIZES:
                value.type = 1
                value.sizes[0], value.sizes[1] = list(sizes)[value.index]
                return 0
            assert request == v4l2.ENUM_INTERVALS
            value.type = 1
            value.intervals[0], value.intervals[1] = 1, sizes[value.width, value.height][value.index]
        except (IndexError, KeyError) as error:
            raise OSError(22, "Invalid argument") from error
        return 0


def modes_of(table: dict[str, dict[tuple[int, int], list[int]]], tmp_path: Path) -> tuple[Mode, ...]:
    (tmp_path / "video0").touch()
    return modes(tmp_path / "video0", Driver(table))


def test_request_numbers_are_the_kernel_s() -> None:
    assert (v4l2.ENUM_FORMATS, v4l2.ENUM_SIZES, v4l2.ENUM_INTERVALS) == (0xC0405602, 0xC02C564A, 0xC034564B)


def test_all_modes_are_listed(tmp_path: Path) -> None:
    found = modes_of(WEBCAM, tmp_path)
    assert len(found) == 10
    assert Mode("MJPG", 1920, 1080, 30) in found
    assert modes(tmp_path / "video9", Driver(WEBCAM)) == ()


@pytest.mark.parametrize(
    ("table", "expected"),
    [(WEBCAM, Mode("MJPG", 1920, 1080, 30)), (RAW_ONLY, Mode("YUYV", 640, 480, 30)), ({}, None)],
)
def test_the_best_mode(table: Any, expected: Mode | None, tmp_path: Path) -> None:
    assert best_mode(modes_of(table, tmp_path)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0, DeviceOptions())),
        ("/dev/video2", (2, DeviceOptions())),
        ("0?width=1280&height=720&fps=30&format=mjpg", (0, DeviceOptions(1280, 720, 30.0, "MJPG"))),
        ("/dev/video1?fps=7.5", (1, DeviceOptions(fps=7.5))),
        ("clip.mp4", None),
        ("./0", None),
    ],
)
def test_texts(text: str, expected: object) -> None:
    assert parse_device(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0?size=4", "unknown option 'size'; expected one of: width, height, fps, format"),
        ("0?", "no option after"),
        ("0?width=x&height=3", "width is 'x'; expected a whole number"),
        ("0?width=640", "only one of width and height was given"),
        ("0?fps=-1", "fps is '-1'"),
        ("0?fps=nan", "fps is 'nan'"),
        ("0?format=jpeg2000", "format is 'jpeg2000'; expected four letters"),
    ],
)
def test_invalid_options_are_refused(text: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        parse_device(text)


def test_gaps_are_filled_by_the_best_mode(tmp_path: Path) -> None:
    found = modes_of(WEBCAM, tmp_path)
    assert wanted_mode(DeviceOptions(), found) == DeviceOptions(1920, 1080, 30, "MJPG")
    assert wanted_mode(DeviceOptions(1280, 720), found) == DeviceOptions(1280, 720, 30, "MJPG")
    assert wanted_mode(DeviceOptions(format="YUYV"), found) == DeviceOptions(640, 480, 30, "YUYV")
    assert wanted_mode(DeviceOptions(fps=60), found) == DeviceOptions(1280, 720, 60, "MJPG")
    assert wanted_mode(DeviceOptions(fps=5), ()) == DeviceOptions(fps=5)


class Camera:
    """The part of `cv2.VideoCapture` that is used, with a driver that grants what it has."""

    def __init__(self, granted: dict[int, float]) -> None:
        self.granted, self.asked = granted, list[tuple[int, float]]()

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        return True

    def set(self, key: int, value: float) -> bool:
        self.asked.append((key, value))
        return True

    def get(self, key: int) -> float:
        return self.granted.get(key, 0.0)

    def grab(self) -> bool:
        return False

    def retrieve(self) -> tuple[bool, Any]:
        return False, None

    def release(self) -> None:
        pass


MJPG = float(cv2.VideoWriter.fourcc(*"MJPG"))
GRANTED = {
    cv2.CAP_PROP_FOURCC: MJPG,
    cv2.CAP_PROP_FRAME_WIDTH: 1280.0,
    cv2.CAP_PROP_FRAME_HEIGHT: 720.0,
    cv2.CAP_PROP_FPS: 30.0,
}


def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: DeviceOptions) -> Camera:
    camera = Camera(GRANTED)
    (tmp_path / "video0").touch()
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: camera)
    monkeypatch.setattr(capture, "modes", lambda device: modes(device, Driver(WEBCAM)))
    monkeypatch.setattr(capture, "_REPORTED", set())
    capture.open_device(0, options, tmp_path)
    return camera


def test_the_format_is_asked_for_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    camera = opened(monkeypatch, tmp_path, DeviceOptions(1280, 720, 30, "MJPG"))
    assert camera.asked == [
        (cv2.CAP_PROP_FOURCC, MJPG),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 30),
    ]


def test_a_different_mode_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(monkeypatch, tmp_path, DeviceOptions(640, 480, 30))
    assert (
        "camera 0 gives 1280x720 at 30 frames/s, MJPG; the driver does not support the requested mode"
        in caplog.text
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        capture.open_device(0, DeviceOptions(640, 480, 30), tmp_path)
    assert caplog.text == "", "a camera that comes back is not reported again"


def test_without_options_the_best_mode_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    camera = opened(monkeypatch, tmp_path, DeviceOptions())
    assert dict(camera.asked)[cv2.CAP_PROP_FRAME_WIDTH] == 1920
    assert dict(camera.asked)[cv2.CAP_PROP_FOURCC] == MJPG


def test_options_reach_the_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[DeviceOptions] = []

    def remember(index: int, options: DeviceOptions, devices: Path) -> Any:
        asked.append(options)
        raise SourceError("enough")

    (tmp_path / "video0").touch()
    monkeypatch.setattr("edgevision.sources.live.open_device", remember)
    with pytest.raises(SourceError, match="enough"):
        open_camera(0, device=DeviceOptions(fps=5), devices=tmp_path, options=CameraOptions())
    assert asked == [DeviceOptions(fps=5)]
