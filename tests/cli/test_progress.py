"""Progress, summaries and signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from edgevision.cli import progress as module
from edgevision.cli.progress import Interrupts, RunProgress
from edgevision.contract.results import Detections
from edgevision.pipeline.pipeline import RunSummary
from edgevision.sinks.frame_result import FrameResult, StageTimes
from edgevision.sources.frames import SourceFrame
from edgevision.sources.health import FrameCounts, Outage, SourceHealth


def processed(inference_ms: float) -> FrameResult:
    frame = SourceFrame(np.zeros((1, 1, 3), np.uint8), 0, "s", 0, 0.0, None, 0)
    times = StageTimes(1_000_000, 500_000, round(inference_ms * 1e6), 100_000, 0)
    return FrameResult(frame, Detections.empty(), times, inference_ms + 2)


def test_the_summary_holds_counts_and_medians() -> None:
    progress = RunProgress(3)
    for inference_ms in (30.0, 10.0, 20.0):
        progress.on_frame(processed(inference_ms))
    lines = progress.summary_lines(RunSummary(3, 1, 1.5, False, lost=FrameCounts(dropped=5)))
    assert lines == [
        "3 frames in 1.5 s: 2.0 frames/s, 5 dropped, 1 files skipped",
        "p50 in ms: decode 1.00, prepare 0.50, inference 20.00, results 0.10, output 0.00; age 22.0",
    ]


def test_a_run_without_frames_has_a_summary() -> None:
    assert RunProgress(None).summary_lines(RunSummary(0, 0, 0.5, True)) == ["0 frames in 0.5 s: 0.0 frames/s"]


def test_outages_and_withheld_frames_have_lines() -> None:
    outage = Outage(1_700_000_000.0, 3.25, "no data within 5 s")
    health = SourceHealth(outages=2, outage_s=8.0, last_outage=outage, black_frames=7, black_episodes=1)
    assert RunProgress(None).summary_lines(RunSummary(0, 0, 0.5, True, health))[1:] == [
        "2 outages of 8.0 s in all, last reason: no data within 5 s",
        "7 black frames withheld, 1 time",
    ]


def test_a_log_gets_lines_and_a_terminal_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LOG_PERIOD_S", 0.0)
    monkeypatch.setattr(module, "TERMINAL_PERIOD_S", 0.0)
    progress = RunProgress(2)
    progress.on_frame(processed(10))
    error = capsys.readouterr().err
    assert error.startswith("1 of 2 frames, ")
    assert error.endswith(" frames/s, age 12 ms\n")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = RunProgress(None)
    progress.on_frame(processed(10))
    progress.clear()
    error = capsys.readouterr().err
    assert "\n" not in error
    assert error.startswith("\r1 frames, ")
    assert error.endswith(" \r")


def test_a_run_of_days_keeps_no_more_than_the_latest_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_FRAMES", 3)
    progress = RunProgress(None)
    for number in range(10):
        progress.on_frame(processed(float(number)))
    assert "inference 8.00" in progress.summary_lines(RunSummary(10, 0, 1.0, False))[1]


WISHES = """
import os, signal
from edgevision.cli.progress import Interrupts

before = signal.getsignal(signal.SIGINT)
with Interrupts() as interrupts:
    assert not interrupts.requested()
    os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.requested()
    assert interrupts.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except KeyboardInterrupt:
        print("interrupted")
assert signal.getsignal(signal.SIGINT) is before
"""


def test_the_first_signal_requests_a_stop_and_the_second_ends() -> None:
    """In a process of its own: a signal that comes late would hit whatever runs the tests."""
    ended = subprocess.run(
        [sys.executable, "-c", WISHES], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "interrupted\n", "")


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def inside() -> None:
        with Interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join(5)
    assert seen == [before]


def test_files_have_no_age() -> None:
    progress = RunProgress(1, live=False)
    progress.on_frame(processed(10))
    lines = progress.summary_lines(RunSummary(1, 0, 1.0, False))
    assert not any("age" in line for line in lines)
