"""Windows of a soak, the slope of memory, and the reasons for UNSTABLE."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.benchmark.record_files import read_any_record, write_record
from edgevision.benchmark.soak.record import MemorySlope, SoakRecord, SoakWindow, soak_lines
from edgevision.benchmark.soak.run import (
    WindowRecorder,
    memory_slope,
    soak_instabilities,
    window_seconds,
    window_text,
)
from edgevision.benchmark.stability import Snapshot
from edgevision.device.facts import FactReading
from edgevision.device.power.state import PowerState
from edgevision.errors import SourceError, UsageError
from tests.benchmark.report.records import SOAK

WINDOW = SOAK.windows[0]


@pytest.mark.parametrize(("minutes", "seconds"), [(0.1, 2.0), (1.0, 10.0), (10.0, 10.0), (60.0, 60.0)])
def test_a_window_is_a_sixtieth_of_the_soak_but_not_short(minutes: float, seconds: float) -> None:
    assert window_seconds(minutes) == pytest.approx(seconds)


def test_frames_are_collected_by_windows(tmp_path: Path) -> None:
    now_s, said = [0.0], list[str]()
    shots = [
        Snapshot((FactReading("gpu", 600.0),), (FactReading("tj", 50.0),)),
        Snapshot((FactReading("gpu", 700.0),), (FactReading("tj", 60.0),), slowed_by=("heat",)),
    ]
    recorder = WindowRecorder(2.0, tmp_path / "times", lambda: shots, said.append, clock=lambda: now_s[0])
    for number in range(1, 9):  # the ninth half second is a part of a window
        now_s[0] += 0.5
        recorder.frame(number * 1_000_000)
    now_s[0] += 0.5
    recorder.frame(9_000_000)
    samples = recorder.finish()
    assert [w.frames for w in recorder.windows] == [4, 4], "the rest is too short for a window"
    assert samples.values_ns == tuple(n * 1_000_000 for n in range(1, 9))
    first = recorder.windows[0]
    assert (first.at_s, first.seconds, first.frames_per_s) == (0.0, 2.0, 2.0)
    assert (first.p50_ms, first.p99_ms) == (2.0, 4.0)
    assert first.clocks_mhz == (FactReading("gpu", 650.0),)
    assert first.temperatures_c == (FactReading("tj", 55.0),)
    assert first.slowed_by == ("heat",)
    assert len(said) == 2
    assert "window 2: 2.0 frames/s, p50 6.00 ms, p99 8.00 ms" in said[1]


def test_a_soak_without_a_frame_is_an_error(tmp_path: Path) -> None:
    recorder = WindowRecorder(2.0, tmp_path / "times", tuple, lambda _: None)
    with pytest.raises(SourceError, match="before its first frame"):
        recorder.finish()


def windows(memory_mib: list[float], frames_per_s: float = 20.0) -> tuple[SoakWindow, ...]:
    return tuple(
        replace(WINDOW, at_s=60.0 * n, seconds=60.0, resident_mib=mib, frames_per_s=frames_per_s)
        for n, mib in enumerate(memory_mib)
    )


def test_the_slope_of_memory_leaves_out_the_first_window() -> None:
    slope = memory_slope(windows([50.0, 200.0, 201.0, 202.0]))
    assert slope is not None
    assert slope == MemorySlope(60.0, 0.0, 2.0), "1 MiB a minute"
    noisy = memory_slope(windows([50.0, 200.0, 203.0, 200.0, 203.0]))
    assert noisy is not None
    assert noisy.error_mib_per_h > 0.5 * noisy.mib_per_h
    assert memory_slope(windows([50.0, 200.0, 201.0])) is None


def test_reasons_for_unstable() -> None:
    calm = PowerState()
    steady = windows([200.0] * 6)
    assert soak_instabilities(steady, calm, calm) == ()
    slower = (*steady[:3], *windows([200.0] * 3, frames_per_s=17.0))
    assert soak_instabilities(slower, calm, calm) == ("frames/s moved by -15% from first to last third",)
    growing = windows([200.0 + 5 * n for n in range(6)])
    assert soak_instabilities(growing, calm, calm) == (
        "resident memory grew by 20 MiB after the first window",
    )
    hot = (*steady[:5], replace(steady[5], slowed_by=("temperature (gpu-throttle-alert)",)))
    assert soak_instabilities(hot, calm, calm) == ("slowed down by temperature (gpu-throttle-alert)",)
    assert soak_instabilities(steady, PowerState("15W (0)"), PowerState("7W (1)")) == (
        "power mode changed from 15W (0) to 7W (1)",
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path / "soak.json", SOAK)
    assert read_any_record(tmp_path / "soak.json") == SOAK
    write_record(tmp_path / "empty.json", replace(SOAK, windows=()))
    with pytest.raises(UsageError, match="at least one window; expected the file of `edgevision bench"):
        read_any_record(tmp_path / "empty.json")


def test_the_record_in_words() -> None:
    text = "\n".join(soak_lines(SOAK))
    for part in (
        "soak of 2 min in 2 windows: 19.5 frames/s, 20.0 in the first window and 19.0 in the last",
        "resident memory: 202 MiB at the end, too few windows for a slope",
        "hottest sensor: tj, 50 °C at first and 61 °C at last",
        "0.250 J per frame",
    ):
        assert part in text
    sloped: SoakRecord = replace(SOAK, memory=MemorySlope(1.25, 0.5, 2.0), unstable=("slowed down by heat",))
    assert "slope +1.2 ± 0.5 MiB/h, +2.0 MiB in all" in "\n".join(soak_lines(sloped))
    assert soak_lines(sloped)[-1] == "UNSTABLE: slowed down by heat"
    assert window_text(SOAK.windows[1], 2) == (
        "2.0 min, window 2: 19.0 frames/s, p50 31.00 ms, p99 40.00 ms, 202 MiB, 61 °C"
    )
