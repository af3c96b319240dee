"""Cameras that are faster than their reader, stop, hang, or do not exist."""

from __future__ import annotations

import importlib.util
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.contract.image import Frame
from edgevision.contract.pixels import FramePixels
from edgevision.errors import SourceError
from edgevision.sources.backoff import Backoff
from edgevision.sources.feeds.capture import CaptureFeed
from edgevision.sources.feeds.feed import Feed, FeedFrame
from edgevision.sources.frames import SourceFrame
from edgevision.sources.freeze import FreezeOptions
from edgevision.sources.live import LiveSource
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions


class FakeCapture:
    """Delivers `count` frames, one whenever `period_s` has passed; then it fails, or hangs until it is let go."""

    def __init__(self, count: int, *, period_s: float = 0.0, hangs: bool = False) -> None:
        self.count = count
        self.period_s = period_s
        self.hangs = hangs
        self.delivered = 0
        self.shape = (12, 16, 3)
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
        return True, np.full(self.shape, self.level(self.delivered), np.uint8)

    def level(self, number: int) -> int:
        """Never black, and each another."""
        return 100 + number

    def get(self, propId: int) -> float:  # noqa: N803  # OpenCV's name
        return 30.0 if propId == cv2.CAP_PROP_FPS else 0.0

    def release(self) -> None:
        self.released.set()


QUICK = CameraOptions(
    first_frame_s=5.0,
    backoff=Backoff(0.01, 0.05),
    freeze=FreezeOptions(freeze_after_s=None),
    outage_timeout_s=0.3,
)


def live(name: str, *captures: FakeCapture, options: CameraOptions = QUICK) -> LiveSource:
    """Each capture is one connection; after the last one connecting fails."""
    waiting = list(captures)

    def connect() -> Feed:
        if not waiting:
            raise SourceError("nobody answers")
        return CaptureFeed(waiting.pop(0))

    return LiveSource(name, connect, options)


def wait_for(capture: FakeCapture) -> None:
    deadline = time.perf_counter() + 5
    while capture.delivered < capture.count and time.perf_counter() < deadline:
        time.sleep(0.001)
    time.sleep(0.01)


def test_a_slow_reader_gets_the_newest_frame_and_drops_are_counted() -> None:
    capture = FakeCapture(20, hangs=True)
    with live("camera 0", capture) as source:
        assert (source.live, source.fps, source.frame_count, source.size_wh) == (True, 30.0, None, (16, 12))
        wait_for(capture)
        frame = source.read()
        assert frame is not None
        assert frame.index == 19
        assert frame.image_bgr[0, 0, 0] == 120
        assert source.lost.dropped == 19
        assert time.perf_counter_ns() - frame.captured_ns < 5e9
        capture.let_go.set()
    assert capture.released.wait(5)


def test_a_fast_reader_gets_every_frame_and_waits_for_it() -> None:
    capture = FakeCapture(5, period_s=0.02)
    with live("camera 0", capture) as source:
        frames = [source.read() for _ in range(5)]
        assert [frame.index for frame in frames if frame is not None] == [0, 1, 2, 3, 4]
        assert source.lost.dropped == 0


def test_an_outage_is_an_error_only_with_an_outage_timeout() -> None:
    with live("camera 3", FakeCapture(1)) as source:
        assert source.read() is not None
        with pytest.raises(
            SourceError, match=r"camera 3 has been away for 0\.[3-9] s: the capture stopped delivering"
        ):
            source.read()
        assert source.health.failed_attempts > 2


def test_a_camera_that_reconnects_is_read_again(caplog: pytest.LogCaptureFixture) -> None:
    captures = FakeCapture(2, period_s=0.05), FakeCapture(0), FakeCapture(1, hangs=True)
    captures[2].shape = (24, 16, 3)
    with live("camera 3", *captures) as source:
        frames = [source.read() for _ in range(3)]
        health = source.health
        captures[2].let_go.set()
    assert [frame.index for frame in frames if frame is not None] == [0, 1, 2]
    assert [frame.size_wh for frame in frames if frame is not None] == [(16, 12), (16, 12), (16, 24)]
    assert (health.outages, health.reconnects, health.size_changes, health.state) == (1, 1, 1, "connected")
    assert health.last_outage is not None
    assert health.outage_s == health.last_outage.seconds < 2
    assert (
        caplog.messages[0] == "camera 3: connection lost: the capture stopped delivering frames; reconnecting"
    )
    assert any(message.startswith("camera 3: back after 0.") for message in caplog.messages)


def test_a_camera_that_never_delivers_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"camera 0 delivers no frames: no frame within 0\.1 s"):
        live("camera 0", FakeCapture(0, hangs=True), options=CameraOptions(first_frame_s=0.1))
    with pytest.raises(
        SourceError, match="camera 0 delivers no frames: the capture stopped delivering frames"
    ):
        live("camera 0", FakeCapture(0))
    with pytest.raises(SourceError, match="camera 0 delivers no frames: nobody answers"):
        live("camera 0")


def test_black_frames_are_withheld_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    capture = FakeCapture(9, period_s=0.005, hangs=True)
    capture.level = lambda number: 3 if 3 <= number <= 6 else 100 + number  # type: ignore[method-assign]  # the double's
    with live("camera 0", capture) as source:
        levels = [int(frame.image_bgr[0, 0, 0]) for frame in (source.read() for _ in range(5)) if frame]
        health = source.health
        capture.let_go.set()
    assert min(levels) > 100
    assert (health.black_frames, health.black_episodes, health.state) == (4, 1, "connected")
    assert health.withheld == 4
    assert caplog.messages == [
        "camera 0 is entirely black; its frames are withheld until that ends",
        "camera 0: valid frames again; 4 were withheld",
    ]


def test_a_camera_with_only_black_frames_is_refused() -> None:
    capture = FakeCapture(3, hangs=True)
    capture.level = lambda number: 0  # type: ignore[method-assign]  # the double's
    with pytest.raises(SourceError, match="it delivered only black frames"):
        live("camera 0", capture, options=CameraOptions(first_frame_s=0.2))
    capture.let_go.set()


def test_frozen_frames_are_withheld_after_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    capture = FakeCapture(40, period_s=0.01, hangs=True)
    capture.level = lambda number: 101 if number == 40 else 100  # type: ignore[method-assign]  # the double's
    watch = FreezeOptions(freeze_after_s=0.15)
    with live("camera 0", capture, options=CameraOptions(freeze=watch)) as source:
        seen: list[SourceFrame] = []
        while not seen or seen[-1].image_bgr[0, 0, 0] == 100:
            frame = source.read()
            assert frame is not None
            seen.append(frame)
        health = source.health
        capture.let_go.set()
    assert health.frozen_episodes == 1
    assert health.frozen_frames + len(seen) + source.lost.dropped == 40
    assert health.frozen_frames > 5
    assert "camera 0 repeats one image; its frames are withheld until that ends" in caplog.messages
    assert health.notes() == (f"{health.frozen_frames} frozen frames withheld, 1 time",)


def test_an_unexpected_error_fails_the_opening_and_is_survived_later() -> None:
    attempts: list[int] = []

    def connect() -> Feed:
        attempts.append(1)
        if len(attempts) == 2:
            raise RuntimeError("a bug")
        return CaptureFeed(FakeCapture(1, period_s=0.02))

    with LiveSource("camera 0", connect, QUICK) as source:
        assert [source.read() is not None for _ in range(3)] == [True, True, True]
        assert source.health.failed_attempts == 1
    attempts[:] = [1]
    with pytest.raises(SourceError, match="camera 0 delivers no frames: RuntimeError: a bug"):
        LiveSource("camera 0", connect, QUICK)


def test_close_from_another_thread_ends_a_read_that_waits() -> None:
    capture = FakeCapture(1, hangs=True)
    source = live("camera 0", capture)
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


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.002)


def test_polling_gives_the_newest_frame_and_does_not_wait() -> None:
    capture = FakeCapture(8, hangs=True)
    with live("camera 0", capture) as source:
        wait_for(capture)
        frame = source.poll()
        assert frame is not None
        assert (frame.index, frame.image_bgr[0, 0, 0], source.lost.dropped) == (7, 108, 7)
        assert [source.poll(), source.poll()] == [None, None]
        assert not source.ended
        capture.let_go.set()
    assert source.poll() is None
    assert source.ended


def test_only_delivered_frames_are_converted_to_bgr() -> None:
    made: list[int] = []

    class Decoded(FramePixels):
        def _to_bgr(self) -> Frame:
            made.append(1)
            return np.zeros((self.size_wh[1], self.size_wh[0], 3), np.uint8)

        def _write_bgr(self, out: Frame, interpolation: int) -> None:
            raise AssertionError("nothing is scaled")

    class Counting(CaptureFeed):
        def read(self) -> FeedFrame:
            frame = super().read()
            return replace(frame, pixels=Decoded(frame.size_wh))

    capture = FakeCapture(9, hangs=True)
    with LiveSource("camera 0", lambda: Counting(capture), QUICK) as source:
        wait_for(capture)
        frame = source.poll()
        assert frame is not None
        assert (frame.size_wh, made) == ((frame.image_bgr.shape[1], frame.image_bgr.shape[0]), [1])
        assert frame.image_bgr is frame.image_bgr
        assert source.poll() is None
        capture.let_go.set()
    assert made == [1]


def test_the_bell_rings_for_a_frame_and_for_the_end() -> None:
    capture = FakeCapture(3, period_s=0.02, hangs=True)
    with live("camera 0", capture) as source:
        source.frame_event = frame_event = threading.Event()
        seen = 0
        while seen < 3:
            if source.poll() is not None:
                seen += 1
                continue
            assert frame_event.wait(20)
            frame_event.clear()
        frame_event.clear()
        source.close()
        assert frame_event.is_set()
        capture.let_go.set()


def test_an_absent_camera_is_awaited(caplog: pytest.LogCaptureFixture) -> None:
    attempts: list[int] = []
    present = threading.Event()
    capture = FakeCapture(2, hangs=True)

    def connect() -> Feed:
        attempts.append(1)
        if not present.is_set():
            raise SourceError("nobody answers")
        return CaptureFeed(capture)

    options = replace(QUICK, wait_first=False, outage_timeout_s=None)
    with LiveSource("front", connect, options) as source:
        assert (source.size_wh, source.health.state, source.poll(), source.ended) == (
            (0, 0),
            "connecting",
            None,
            False,
        )
        until(lambda: len(attempts) > 3)
        health = source.health
        assert (health.state, health.outages) == ("connecting", 1)
        assert health.last_outage is not None
        assert health.last_outage.reason == "nobody answers"
        present.set()
        frame = source.read()
        assert frame is not None
        assert (source.size_wh, source.health.state, source.health.reconnects) == ((16, 12), "connected", 1)
        capture.let_go.set()
    assert caplog.messages[0] == "front does not answer: nobody answers; retrying until it does"
    assert caplog.messages[1].startswith("front: there after 0.")


def test_a_camera_that_never_answers_fails_after_the_outage_timeout() -> None:
    with LiveSource("front", no_feed, replace(QUICK, wait_first=False)) as source:
        with pytest.raises(SourceError, match=r"front has been away for 0\.[3-9] s: nobody answers"):
            source.read()
        until(lambda: source.health.failed_attempts > 2)
        with pytest.raises(SourceError, match="front has been away for"):
            source.poll()


def no_feed() -> Feed:
    raise SourceError("nobody answers")


@pytest.mark.parametrize("reader", ["av", "opencv"])
def test_closing_works_while_a_silent_camera_is_connecting(
    reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reader == "opencv":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        options = CameraOptions(wait_first=False, connect_timeout_s=5.0)
        source = open_source(f"rtsp://127.0.0.1:{server.getsockname()[1]}/1", options, name="front")
        connection, _ = server.accept()
        with connection:
            began_s = time.monotonic()
            source.close()
            assert time.monotonic() - began_s < 1
        # The connection is gone, and with it the thread, at once or when its reader gives up.
        for thread in [thread for thread in threading.enumerate() if thread.name == "camera front"]:
            thread.join(20)
            assert not thread.is_alive()


def test_missing_frames_are_counted_by_the_cameras_time_stamps() -> None:
    class Stamped(CaptureFeed):
        def read(self) -> FeedFrame:
            frame = super().read()
            number = capture.delivered
            return replace(frame, stamp_ns=number * 10**7 + (number > 20) * 3 * 10**7)

    capture = FakeCapture(40)
    with LiveSource("camera 0", lambda: Stamped(capture), replace(QUICK, backoff=Backoff(30, 30))) as source:
        until(lambda: source.health.state == "reconnecting")
        assert (source.lost.missed, source.health.lost.missed) == (3, 3)


def test_a_user_defined_name_is_in_frames_and_messages(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    with open_source("demo:64x48@200", name="front") as source:
        frame = source.read()
        assert frame is not None
        assert (source.name, frame.source) == ("front", "front")
    with open_source(tmp_path, name="files") as source:
        (frame,) = source
        assert (source.name, frame.source) == ("files", str(tmp_path / "a.png"))
    with pytest.raises(SourceError, match="^front delivers no frames: Connection refused"):
        open_source("rtsp://127.0.0.1:9/1", name="front")


def test_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    live("camera 0", FakeCapture(3, period_s=0.01)).close()
    assert set(threading.enumerate()) <= before
