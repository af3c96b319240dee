"""The benchmark of broken sinks detects lost data and sinks that did not fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.broken_sinks import (
    FULL,
    Plan,
    measure,
    mute_server,
    one_run,
    open_broken_sinks,
    problems_of,
    resumes_when_space_is_freed,
    small_disk,
)
from edgevision.sinks.sink import SinkHealth
from tests.doubles import BrightnessSession, MemorySource
from tests.sinks.conftest import no_thread_is_left_behind

__all__ = ["no_thread_is_left_behind"]
"""Fixture of the sink tests, used here too."""


def test_a_run_with_every_sink_broken_loses_no_written_data(tmp_path: Path) -> None:
    if not FULL.exists():
        pytest.skip(f"no {FULL} here")
    session = BrightnessSession(takes_s=0.002)
    with small_disk(tmp_path / "disk") as disk:
        figures, problems = measure(session, lambda: MemorySource(100), Plan(1, 100), disk, tmp_path)
        if disk is not None:
            problems += resumes_when_space_is_freed(disk, session, MemorySource(500, period_s=0.003))
    assert problems == []
    assert figures.pairs == 1
    assert all(0.1 < ratio < 10 for ratio in (*figures.speed, *figures.inference))


def test_a_lost_line_is_reported(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        if disk is None:
            pytest.skip("a tmpfs may not be mounted here")
        with mute_server() as port:
            sinks = open_broken_sinks(disk, port, tmp_path)
            run = one_run(BrightnessSession(), MemorySource(400), sinks, 400)
        assert problems_of(run, disk, 400) == []
        lines = (disk / "lines.jsonl").read_bytes().splitlines(keepends=True)
        (disk / "lines.jsonl").write_bytes(b"".join([*lines[:5], *lines[6:-1]]) + lines[-1].rstrip(b"\n"))
        assert problems_of(run, disk, 400) == [
            "lines.jsonl does not contain the written results from the first one",
            "lines.jsonl ends with an incomplete line",
        ]
        unbroken = SinkHealth("mqtt://h", "working", 7, 0, 3, None)
        assert problems_of(replace(run, sinks=(unbroken,)), None, 400) == [
            "mqtt://h wrote 7 results; expected it to fail",
            "mqtt://h: 7 written and 3 lost of 400",
        ]
