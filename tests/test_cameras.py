"""A camera that is faster than its reader, one that stops, one that hangs, and none."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.cameras import CameraSource, open_camera
from edgevision.errors import SourceError
from edgevision.image import Frame
from edgevision.sources import open_source


class FakeCapture:
    """Delivers `count` frames, one whenever `period_s` has passed; then it fails, or hangs until it is let go."""

    def __init__(self, count: int, *, period_s: float = 0.0, hangs: bool = False) -> None:
        self.count = count
        self.period_s = period_s
        self.hangs = hangs
        self.delivered = 0
        self.let_go = threading.Event()
        self.released = threading.Event()

    def grab(self) -> bool:
        if self.delivered == self.count:
            if self.hangs:
                self.let_go.wait(10)
            return False
        time.sleep(self.period_s)
        self.delivered += 1
        return True

    def retrieve(self) -> tuple[bool, Frame]:
        return True, np.full((12, 16, 3), self.delivered, np.uint8)

    def get(self, propId: int) -> float:  # noqa: N803  # OpenCV's name
        return 30.0 if propId == cv2.CAP_PROP_FPS else 0.0

    def release(self) -> None:
        self.released.set()


def wait_for(capture: FakeCapture) -> None:
    deadline = time.perf_counter() + 5
    while capture.delivered < capture.count and time.perf_counter() < deadline:
        time.sleep(0.001)
    time.sleep(0.01)


def test_a_slow_reader_gets_the_newest_frame_and_drops_are_counted() -> None:
    capture = FakeCapture(20, hangs=True)
    with CameraSource("camera 0", capture) as source:
        assert (source.live, source.fps, source.frame_count, source.size_wh) == (True, 30.0, None, (16, 12))
        wait_for(capture)
        frame = source.read()
        assert frame is not None
        assert frame.index == 19
        assert frame.image_bgr[0, 0, 0] == 20
        assert source.dropped == 19
        assert time.perf_counter_ns() - frame.captured_ns < 5e9
        capture.let_go.set()
    assert capture.released.wait(5)


def test_a_fast_reader_gets_every_frame_and_waits_for_it() -> None:
    capture = FakeCapture(5, period_s=0.02)
    with CameraSource("camera 0", capture) as source:
        frames = [source.read() for _ in range(5)]
        assert [frame.index for frame in frames if frame is not None] == [0, 1, 2, 3, 4]
        assert source.dropped == 0


def test_a_camera_that_stops_is_an_error() -> None:
    with CameraSource("camera 3", FakeCapture(1)) as source:
        assert source.read() is not None
        with pytest.raises(SourceError, match="camera 3 stopped delivering frames"):
            source.read()


def test_a_camera_that_never_delivers_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"delivered no frame within 0\.1 s"):
        CameraSource("camera 0", FakeCapture(0, hangs=True), first_frame_timeout_s=0.1)
    with pytest.raises(SourceError, match="delivered no frame"):
        CameraSource("camera 0", FakeCapture(0))


def test_close_from_another_thread_ends_a_read_that_waits() -> None:
    capture = FakeCapture(1, hangs=True)
    source = CameraSource("camera 0", capture)
    assert source.read() is not None
    answers: list[object] = []
    reader = threading.Thread(target=lambda: answers.append(source.read()))
    reader.start()
    reader.join(0.05)
    assert reader.is_alive()
    source.close()
    reader.join(5)
    capture.let_go.set()
    assert answers == [None]
    assert source.read() is None
    assert capture.released.wait(5)


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    CameraSource("camera 0", FakeCapture(3, period_s=0.01)).close()
    assert threading.active_count() == before


@pytest.mark.skipif(sys.platform != "linux", reason="device files are Linux's")
def test_a_camera_that_does_not_exist_is_refused_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "video0").touch()
    (tmp_path / "video2").touch()
    began = time.perf_counter()
    with pytest.raises(
        SourceError, match="camera 7 does not exist: there is no .*; cameras here: .*video0, .*video2"
    ):
        open_camera(7, devices=tmp_path)
    for text in ("63", "/dev/video63"):
        with pytest.raises(SourceError, match=r"camera 63 does not exist: there is no /dev/video63"):
            open_source(text)
    assert time.perf_counter() - began < 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="device files are Linux's")
def test_a_device_that_is_no_camera_is_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "video63").touch()
    with pytest.raises(SourceError, match="camera 63 cannot be opened; is it used by another program"):
        open_camera(63, devices=tmp_path)
    assert capfd.readouterr() == ("", "")
