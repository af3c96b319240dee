"""Progress and summary of a run, and its clean end on a signal."""

from __future__ import annotations

import logging
import signal
import statistics
import sys
import threading
import time
from collections import deque
from types import FrameType, TracebackType

import click

from edgevision.pipeline.pipeline import RunSummary
from edgevision.pipeline.streams import StreamStats
from edgevision.sinks.frame_result import FrameResult

TERMINAL_PERIOD_S = 0.2
LOG_PERIOD_S = 10.0
KEPT_FRAMES = 10_000
"""Number of latest frames whose times enter the summary; it bounds the memory of long runs."""


class Interrupts:
    """Turns the first SIGINT or SIGTERM into a request to stop; the second one ends the program at once."""

    def __init__(self) -> None:
        self.exit_code = 0
        """128 + the signal's number, as in shells; 0 without a signal."""
        self._before: dict[signal.Signals, object] = {}

    def requested(self) -> bool:
        """True after a signal."""
        return self.exit_code != 0

    def __enter__(self) -> Interrupts:
        # Only the main thread may set handlers; in other threads the caller handles signals.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.exit_code = 128 + number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # returned by signal.signal
        self._before.clear()


class RunProgress:
    """Frames and frames/s on standard error: one updated line on a terminal, a line per period elsewhere."""

    def __init__(self, total: int | None, *, live: bool = True) -> None:
        """`total` is the expected number of frames; `live` also shows the age of results."""
        self.total, self.live = total, live
        self._terminal = sys.stderr.isatty()
        self._period_s = TERMINAL_PERIOD_S if self._terminal else LOG_PERIOD_S
        self._frames = 0
        self._shown_frames = 0
        self._shown_s = time.perf_counter()
        self._width = 0
        self._times: deque[dict[str, float]] = deque(maxlen=KEPT_FRAMES)
        self._ages_ms: deque[float] = deque(maxlen=KEPT_FRAMES)

    def on_frame(self, processed: FrameResult) -> None:
        """Count a frame and show the state, at most once per period."""
        self._frames += 1
        self._times.append(processed.times.in_ms())
        self._ages_ms.append(processed.age_ms)
        now_s = time.perf_counter()
        if now_s - self._shown_s >= self._period_s:
            rate = (self._frames - self._shown_frames) / (now_s - self._shown_s)
            self._shown_frames, self._shown_s = self._frames, now_s
            of_total = f" of {self.total}" if self.total else ""
            age = f", age {processed.age_ms:.0f} ms" if self.live else ""
            self._show(f"{self._frames}{of_total} frames, {rate:.1f} frames/s{age}")

    def clear(self) -> None:
        """Clear the progress line, so that other text can be written."""
        if self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)
            self._width = 0

    def summary_lines(self, summary: RunSummary) -> list[str]:
        """Totals of the run: frames, rate, losses and stage times."""
        extras = list(summary.lost.notes())
        extras += [f"{summary.skipped} files skipped"] if summary.skipped else []
        lines = [
            ", ".join(
                [
                    f"{summary.frames} frames in {summary.wall_s:.1f} s: {summary.frames_per_s:.1f} frames/s",
                    *extras,
                ]
            )
        ]
        if self._times:
            medians = {
                name: statistics.median(times[name] for times in self._times) for name in self._times[-1]
            }
            stages = ", ".join(f"{name} {ms:.2f}" for name, ms in medians.items())
            age = f"; age {statistics.median(self._ages_ms):.1f}" if self.live else ""
            lines.append(f"p50 in ms: {stages}{age}")
        if len(summary.sources) < 2:
            return [*lines, *summary.health.notes()]
        return [*lines, *(_source_line(name, stats) for name, stats in summary.sources)]

    def _show(self, text: str) -> None:
        if not self._terminal:
            click.echo(text, err=True)
            return
        click.echo("\r" + text.ljust(self._width), nl=False, err=True)
        self._width = len(text)


def _source_line(name: str, stats: StreamStats) -> str:
    ages = (
        "" if stats.age_p50_ms is None else f", age p50 {stats.age_p50_ms:.0f} p99 {stats.age_p99_ms:.0f} ms"
    )
    return ", ".join([f"{name}: {stats.frames} frames{ages}", *stats.lost.notes(), *stats.health.notes()])


class ProgressLogHandler(logging.Handler):
    """Writes warnings to standard error, each on its own line beside a progress line."""

    def __init__(self, progress: RunProgress) -> None:
        super().__init__(logging.WARNING)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message."""
        self._progress.clear()
        click.echo(f"edgevision: warning: {record.getMessage()}", err=True)
