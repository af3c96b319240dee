"""Files played in a loop as live cameras."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.contract.image import Frame
from edgevision.errors import SourceError
from edgevision.sources.addresses import SourceAddress
from edgevision.sources.feeds.loop import LoopAddress, LoopFeed
from edgevision.sources.freeze import FreezeOptions
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions

COUNT = 10


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Frame n is grey of level 20 n + 40."""
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50.0, (64, 48))
    for number in range(COUNT):
        writer.write(np.full((48, 64, 3), 20 * number + 40, np.uint8))
    writer.release()
    return path


def number_of(frame_bgr: Frame) -> int:
    return round((float(frame_bgr.mean()) - 40) / 20)


class Hours:
    """A simulated steady clock that advances only on waits and on request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 10**15
        monkeypatch.setattr(time, "perf_counter_ns", lambda: self.now_ns)

    def wait(self, seconds: float) -> bool:
        self.now_ns += round(seconds * 1e9)
        return False


def feed_of(text: str, hours: Hours) -> LoopFeed:
    feed = LoopFeed(LoopAddress.from_text(text))
    feed._interrupted.wait = hours.wait  # type: ignore[method-assign,assignment]  # time passes by itself no more
    return feed


def test_a_video_loops_without_drift(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = Hours(monkeypatch)
    began_ns = hours.now_ns
    feed = feed_of(f"loop:{video}", hours)
    for index in range(3 * COUNT + 5):
        hours.now_ns += 3_000_000  # what others do with the frame
        frame = feed.read()
        assert number_of(frame.image_bgr) == index % COUNT
        assert (frame.captured_ns - began_ns, frame.stamp_ns) == (index * 20_000_000, index * 20_000_000)
        assert frame.clock == "camera"
    feed.close()


def test_frames_not_read_in_time_are_dropped(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = Hours(monkeypatch)
    feed = feed_of(f"loop:{video}@10", hours)
    assert feed.fps == 10
    assert number_of(feed.read().image_bgr) == 0
    hours.now_ns += 350_000_000
    assert [number_of(feed.read().image_bgr) for _ in range(2)] == [3, 4]
    hours.now_ns += 3_600 * 10**9
    late = feed.read()
    assert number_of(late.image_bgr) == 5  # an hour of pictures is not decoded to catch up
    assert late.stamp_ns == 36_004_00_000_000
    feed.close()


def test_images_are_played_at_the_rate_that_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), 20 * number + 40, np.uint8))
    hours = Hours(monkeypatch)
    feed = feed_of(f"loop:{tmp_path}@2.5", hours)
    frames = [feed.read() for _ in range(7)]
    assert [number_of(frame.image_bgr) for frame in frames] == [0, 1, 2, 0, 1, 2, 0]
    assert [frame.stamp_ns for frame in frames[:3]] == [0, 400_000_000, 800_000_000]
    assert feed_of(f"loop:{tmp_path / '1.png'}@5", hours).read().size_wh == (8, 8)


def test_a_loop_is_a_live_source(video: Path) -> None:
    with open_source(f"loop:{video}@200") as source:
        assert (source.live, source.fps, source.size_wh, source.frame_count) == (True, 200.0, (64, 48), None)
        assert source.name == f"loop:{video}@200"
        frames = [frame for frame in (source.read() for _ in range(2 * COUNT)) if frame is not None]
    indices = [frame.index for frame in frames]
    assert len(indices) == 2 * COUNT
    assert indices == sorted(set(indices))
    # The image shows when it was due, whatever a busy machine skipped before it; after a second, nothing is skipped.
    due = [round((frame.captured_ns - frames[0].captured_ns) * 200 / 1e9) for frame in frames]
    if max(np.diff(due)) < 200:
        numbers = [number_of(frame.image_bgr) for frame in frames]
        assert [(number - numbers[0]) % COUNT for number in numbers] == [number % COUNT for number in due]


def test_the_name_and_only_a_number_at_its_end_is_a_rate(tmp_path: Path) -> None:
    for name in ("a@b.avi", "cam@2", "cam"):
        (tmp_path / name).touch()
    assert LoopAddress.from_text(f"loop:{tmp_path}/a@b.avi") == LoopAddress(tmp_path / "a@b.avi", None)
    assert LoopAddress.from_text(f"LOOP:{tmp_path}/a@b.avi@7.5") == LoopAddress(tmp_path / "a@b.avi", 7.5)
    assert LoopAddress.from_text(f"loop:{tmp_path}/cam@2") == LoopAddress(tmp_path / "cam", 2.0)
    assert LoopAddress.from_text(f"loop:{tmp_path}/cam@2@2") == LoopAddress(tmp_path / "cam@2", 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loop:", "has no path; expected loop:VIDEO, or loop:VIDEO@FPS"),
        ("loop:@5", "has no path"),
        ("loop:absent.mp4", "loop:absent.mp4: no such file or folder: absent.mp4"),
        ("loop:.@0", "the rate is 0 frames/s; expected above 0 and at most 1000"),
        ("loop:.@2000", "the rate is 2000 frames/s; expected above 0"),
        ("loop:.", "images have no frame rate; expected loop:.@FPS"),
    ],
)
def test_an_invalid_address_is_refused_even_without_waiting_for_cameras(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        SourceAddress.parse(text).feed_factory(CameraOptions(wait_first=False))


def test_an_unplayable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a video")
    with pytest.raises(
        SourceError, match=r"delivers no frames: .*notes.txt is not a video that OpenCV can open"
    ):
        open_source(f"loop:{tmp_path / 'notes.txt'}")
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(SourceError, match="bad.png is not an image that OpenCV can decode"):
        open_source(f"loop:{tmp_path / 'bad.png'}@5")


def test_a_missing_file_is_an_outage_until_it_is_restored(video: Path) -> None:
    options = CameraOptions(freeze=FreezeOptions(freeze_after_s=None))
    away = video.with_name("away.avi")
    with open_source(f"loop:{video}@100", options) as source:
        assert source.read() is not None
        video.rename(away)
        deadline_s = time.monotonic() + 20
        while source.health.state != "reconnecting":
            assert time.monotonic() < deadline_s
            source.poll()
        away.rename(video)
        while source.health.reconnects < 1:
            assert time.monotonic() < deadline_s
            assert source.read() is not None
        outage = source.health.last_outage
    assert outage is not None
    assert "is not a video that OpenCV can open" in outage.reason


def test_closing_ends_a_wait_for_the_next_frame(video: Path) -> None:
    source = open_source(f"loop:{video}@0.01")
    began_s = time.monotonic()
    source.close()
    assert time.monotonic() - began_s < 5
    assert not any(thread.name == f"camera loop:{video}" for thread in threading.enumerate())
