"""Annotated videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.sinks.files.video import VideoSink
from edgevision.sources.opening import open_source
from tests.sinks.results import processed


def test_a_video_has_a_frame_for_every_frame(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "v.mp4", (64, 48), 10.0) as sink:
        for number in range(5):
            sink.write(processed(number))
    with open_source(tmp_path / "v.mp4") as source:
        assert (source.fps, source.frame_count) == (10.0, 5)


@pytest.mark.parametrize(
    ("period_s", "count", "expected"),
    [(0.1, 10, 10), (0.2, 10, 19), (0.05, 21, 11), (60.0, 2, 51)],
    ids=["as promised", "slower: repeated", "faster: left out", "a gap is cut"],
)
def test_a_live_video_runs_as_fast_as_the_world(
    tmp_path: Path, period_s: float, count: int, expected: int
) -> None:
    with VideoSink(tmp_path / "v.mp4", (64, 48), 10.0, live=True) as sink:
        for number in range(count):
            sink.write(processed(number, captured_ns=round(number * period_s * 1e9)))
    with open_source(tmp_path / "v.mp4") as source:
        assert source.frame_count == expected


@pytest.mark.parametrize("fps", [None, 0.0, 90000.0])
def test_an_invalid_frame_rate_is_replaced(tmp_path: Path, fps: float | None) -> None:
    with VideoSink(tmp_path / "v.mp4", (64, 48), fps) as sink:
        sink.write(processed())
    assert open_source(tmp_path / "v.mp4").fps == 25.0
