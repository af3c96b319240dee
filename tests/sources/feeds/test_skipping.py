"""Non-reference frames that would be dropped are not decoded; all others stay the same, pixel by pixel."""

from __future__ import annotations

import functools
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

from edgevision.sources.backoff import Backoff  # noqa: E402  # after the skip
from edgevision.sources.demand import REMEMBERED, Demand  # noqa: E402
from edgevision.sources.feeds.network import NetworkFeed  # noqa: E402
from edgevision.sources.feeds.skipping import ARRIVALS, LEAD_FRAMES, FrameSkipping  # noqa: E402
from edgevision.sources.live import LiveSource  # noqa: E402
from edgevision.sources.options import CameraOptions  # noqa: E402

FRAMES = 120
PERIOD_S = 0.04
Image = np.ndarray[Any, Any]
CLIPS = {
    "h264, B-frames": ("libx264", {"bf": "3", "x264-params": "b-pyramid=normal:log-level=none"}),
    "h264, no B-frames": ("libx264", {"bf": "0", "tune": "zerolatency", "x264-params": "log-level=none"}),
    "h265, B-frames": (
        "libx265",
        {"preset": "ultrafast", "x265-params": "bframes=4:b-pyramid=1:log-level=none"},
    ),
    "h265, layers": (
        "libx265",
        {"preset": "ultrafast", "x265-params": "temporal-layers=1:bframes=3:b-pyramid=1:log-level=none"},
    ),
}


@functools.cache
def _encoded(kind: str, folder: Path) -> Path:
    codec, options = CLIPS[kind]
    path = folder / f"{list(CLIPS).index(kind)}.mp4"
    rng = np.random.default_rng(1)
    background = rng.integers(0, 256, (96, 128, 3), np.uint8)
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 128, 96, "yuv420p", 40
        stream.options = options
        for number in range(FRAMES):
            image = np.roll(background, 2 * number, axis=1)
            image[20:60, number % 80 : number % 80 + 30] = 2 * number
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        output.mux(stream.encode())
    return path


@pytest.fixture(params=CLIPS)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, _encoded(request.param, tmp_path_factory.getbasetemp())


class Wish(Demand):
    """A reader that takes its next frame in `left_s`."""

    left_s = 0.0

    def until_next_s(self) -> float:
        return self.left_s


def decoded(path: Path, lefts_s: list[float] | None) -> tuple[dict[int, Image], list[int]]:
    """The images by time stamp in nanoseconds, and the time stamps of skipped frames, in the order of the decoder."""
    clock = iter(PERIOD_S * n for n in range(10_000))
    wish = Wish()
    images: dict[int, Image] = {}
    skipped: list[int] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "SLICE", 2
        skipping = FrameSkipping(stream, lambda: next(clock))
        for number, packet in enumerate(container.demux(stream)):
            wish.left_s = lefts_s[number % len(lefts_s)] if lefts_s else 0.0
            skipping.prepare(packet, wish, software=True)
            for picture in packet.decode():
                found = skipping.skipped_before(picture)
                assert all(last < stamp for last, stamp in zip(list(images)[-1:], found, strict=False))
                skipped += found
                images[round(picture.time * 1e9)] = picture.to_ndarray()
    return images, [round(stamp / 1e3) * 1000 for stamp in skipped]


@pytest.mark.parametrize("pattern", ["always", "at random"])
def test_frames_that_are_decoded_are_those_of_a_full_decode(clip: tuple[str, Path], pattern: str) -> None:
    kind, path = clip
    chance = random.Random(3)
    lefts_s = [9.0] if pattern == "always" else [chance.choice([0.0, 9.0]) for _ in range(FRAMES)]
    every, none = decoded(path, None)
    assert (len(every), none) == (FRAMES, [])
    some, skipped = decoded(path, lefts_s)
    assert list(some) == sorted(some)
    for stamp, image in some.items():
        np.testing.assert_array_equal(image, every[stamp])
    # Every frame was delivered or reported as skipped; the last ones have no later frame that could show it.
    last = max(some)
    missing = sorted(round(stamp / 1e3) * 1000 for stamp in every if stamp not in some and stamp < last)
    assert skipped == missing
    if "no B" in kind:
        assert skipped == []
    else:
        assert len(skipped) > (FRAMES - ARRIVALS) * (0.25 if pattern == "always" else 0.08)


def newest_frames(path: Path, takes: list[float], *, skips: bool) -> tuple[list[int], int]:
    """The newest frame whenever one is taken, at times in frame periods; and the number of decoded frames."""
    clock = iter(PERIOD_S * n for n in range(10_000))
    wish, found, newest, count = Wish(), [], -1, 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        skipping = FrameSkipping(stream, lambda: next(clock))
        for number, packet in enumerate(container.demux(stream)):
            due = next((moment for moment in takes if moment > number), None)
            if due is None:
                break
            wish.left_s = (due - number) * PERIOD_S if skips else 0.0
            skipping.prepare(packet, wish, software=True)
            for picture in packet.decode():
                newest, count = max(newest, picture.pts), count + 1
            if due < number + 1:
                found.append(newest)
    return found, count


@pytest.mark.parametrize("every", [11, 15, 25])
def test_a_taken_frame_is_as_new_as_without_skipping(clip: tuple[str, Path], every: int) -> None:
    kind, path = clip
    for first in range(0, every, 3):
        takes = [moment + 0.5 for moment in range(first, FRAMES - 1, every)]
        expected, full = newest_frames(path, takes, skips=False)
        received, fewer = newest_frames(path, takes, skips=True)
        assert received == expected
        assert fewer == full if "no B" in kind else fewer < full


def test_nothing_is_skipped_before_a_frame_is_taken_or_by_hardware(tmp_path: Path) -> None:
    path = _encoded("h264, B-frames", tmp_path)
    assert decoded(path, [LEAD_FRAMES * PERIOD_S])[1] == []  # the decoder reorders, and needs twice the lead
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        skipping, wish = FrameSkipping(stream), Wish()
        wish.left_s = 9.0
        for packet in container.demux(stream):
            skipping.prepare(packet, wish, software=False)
            assert stream.codec_context.skip_frame == "DEFAULT"
            skipping.prepare(packet, None, software=True)
            assert stream.codec_context.skip_frame == "DEFAULT"


def test_the_next_frame_is_expected_after_a_usual_interval() -> None:
    now_s = [0.0]
    demand = Demand(lambda: now_s[0])
    for number in range(REMEMBERED + 1):
        assert demand.until_next_s() == 0.0, "unknown"
        now_s[0] += 0.02 if number == 4 else 0.2  # one short interval
        demand.taken()
    assert demand.until_next_s() == pytest.approx(0.2)
    now_s[0] += 0.15
    assert demand.until_next_s() == pytest.approx(0.05)
    now_s[0] += 1.0
    assert demand.until_next_s() == 0.0, "overdue"
    for _ in range(3):  # the engine has become faster
        now_s[0] += 0.03
        demand.taken()
    assert demand.until_next_s() == pytest.approx(0.03)


def test_a_slow_reader_of_a_camera_counts_skipped_frames_as_dropped(tmp_path: Path) -> None:
    path = str(_encoded("h264, B-frames", tmp_path))
    open_feed = functools.partial(
        NetworkFeed, path, connect_timeout_s=5.0, read_timeout_s=5.0, transport="tcp", decoder="software"
    )
    options = CameraOptions(backoff=Backoff(0.01, 0.01))
    taken = 0
    with LiveSource("camera", open_feed, options) as source:
        ends_s = time.monotonic() + 20
        while not source.health.undecoded_frames and time.monotonic() < ends_s:
            assert (frame := source.read()) is not None
            taken += 1
            time.sleep(0.03)  # the file is read much faster than it plays
        health = source.health
        assert health.undecoded_frames > 0
        assert (frame := source.read()) is not None
        assert source.lost.dropped == frame.index + 1 - (taken + 1)
        assert source.lost.dropped >= health.undecoded_frames
    assert any("of the dropped frames were not decoded" in note for note in health.notes())
