"""Runs the overlapping pipeline for a long time and summarises it by windows."""

from __future__ import annotations

import math
import statistics
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import edgevision
from edgevision.benchmark.bench import RepeatedSource
from edgevision.benchmark.builds import Build, FrameOpener, build_record
from edgevision.benchmark.energy import EnergyMeter, PowerSensor
from edgevision.benchmark.inputs import NOISE
from edgevision.benchmark.noise import make_images
from edgevision.benchmark.records import StageRecord
from edgevision.benchmark.soak.record import MemorySlope, SoakRecord, SoakWindow
from edgevision.benchmark.source_state import git_state
from edgevision.benchmark.stability import MachineWatch, Snapshot
from edgevision.benchmark.timing import DRIFT_LIMIT, Samples, drift
from edgevision.contract.inputs import TensorInput
from edgevision.contract.spec import utc_now
from edgevision.device.facts import FactReading, device_facts, resident_mib
from edgevision.device.power.findings import before_timing, meanwhile
from edgevision.device.power.reading import power_state
from edgevision.device.power.state import PowerState
from edgevision.engines.opening import CPU_ENGINES
from edgevision.errors import SourceError
from edgevision.pipeline.pipeline import run_pipeline

WINDOWS = 60
"""Number of windows of a soak that is long enough."""
LEAST_S = 10.0
"""Minimum length of a window."""
LEAST_WINDOWS = 3
"""A shorter soak has shorter windows."""
LEAST_GROWTH_MIB = 8.0
"""Smaller growth of memory is no reason for UNSTABLE: allocators and caches settle."""


def window_seconds(minutes: float) -> float:
    """Length of a window: a sixtieth of the soak, at least 10 s, at most a third of the soak."""
    return min(max(minutes * 60 / WINDOWS, LEAST_S), minutes * 60 / LEAST_WINDOWS)


class WindowRecorder:
    """Collects the frames of a run by windows.

    Times of earlier windows are in a file, so that the memory of the process does not grow with the run.
    """

    def __init__(
        self,
        seconds: float,
        times_file: Path,
        take: Callable[[], Sequence[Snapshot]],
        progress: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`take` gives the readings of the machine since its previous call."""
        self._seconds = seconds
        self._file = times_file
        self._take = take
        self._progress = progress
        self._clock = clock
        self._began_s = self._window_s = clock()
        self._times = array("q")
        self.windows: list[SoakWindow] = []

    @property
    def elapsed_s(self) -> float:
        """Since the start."""
        return self._clock() - self._began_s

    def frame(self, inference_ns: int) -> None:
        """Add the inference of a frame; ends the window when its time has passed."""
        self._times.append(inference_ns)
        if self._clock() - self._window_s >= self._seconds:
            self._end_window()

    def finish(self) -> Samples:
        """End the last window unless it is shorter than half of the others; all times in order.

        Raises `SourceError` without a frame.
        """
        if self._times and (not self.windows or self._clock() - self._window_s >= self._seconds / 2):
            self._end_window()
        if not self.windows:
            raise SourceError("the soak ended before its first frame; check the source with `edgevision run`")
        return Samples(tuple(np.fromfile(self._file, np.int64).tolist()))

    def _end_window(self) -> None:
        now_s, times = self._clock(), Samples(tuple(self._times))
        shots, seconds = self._take(), self._clock() - self._window_s
        with self._file.open("ab") as file:
            self._times.tofile(file)
        window = SoakWindow(
            at_s=round(self._window_s - self._began_s, 3),
            seconds=round(seconds, 3),
            frames=len(times),
            frames_per_s=round(len(times) / seconds, 3),
            p50_ms=round(times.percentile_ms(50), 4),
            p90_ms=round(times.percentile_ms(90), 4),
            p99_ms=round(times.percentile_ms(99), 4),
            resident_mib=round(resident_mib(), 2),
            clocks_mhz=_medians([shot.clocks_mhz for shot in shots]),
            temperatures_c=_medians([shot.temperatures_c for shot in shots]),
            watts=_medians([shot.watts for shot in shots]),
            slowed_by=tuple(dict.fromkeys(reason for shot in shots for reason in shot.slowed_by)),
        )
        self.windows.append(window)
        self._times = array("q")
        self._window_s = now_s
        self._progress(window_text(window, len(self.windows)))


def window_text(window: SoakWindow, number: int) -> str:
    """One line of progress."""
    parts = [
        f"{(window.at_s + window.seconds) / 60:.1f} min, window {number}: {window.frames_per_s:.1f} frames/s",
        f"p50 {window.p50_ms:.2f} ms, p99 {window.p99_ms:.2f} ms",
        f"{window.resident_mib:.0f} MiB",
    ]
    if window.temperatures_c:
        parts.append(f"{max(reading.value for reading in window.temperatures_c):.0f} °C")
    return ", ".join([*parts, *(f"slowed down by {reason}" for reason in window.slowed_by)])


def run_soak(
    build: Build,
    frames: FrameOpener,
    minutes: float,
    scratch: Path,
    progress: Callable[[str], None] = lambda _: None,
) -> SoakRecord:
    """Run a build for `minutes`: on repeated frames, or on noise if it makes images.

    Raises the errors of `open_session`, and `SourceError`.
    """
    with build.open() as session:
        taken = session.spec.input
        source = None if isinstance(taken, TensorInput) else RepeatedSource(frames(taken))
        power = power_state()
        warnings = before_timing(power)
        for warning in warnings:
            progress(f"WARNING: {warning}")
        energy = EnergyMeter(
            PowerSensor(on_gpu=session.info.engine not in CPU_ENGINES), "the soak", period_s=1.0
        )
        with MachineWatch() as watch, energy.running():
            recorder = WindowRecorder(window_seconds(minutes), scratch / "times.bin", watch.take, progress)

            def over() -> bool:
                return recorder.elapsed_s >= minutes * 60

            if source is None:
                count, per_s = make_images(session, over, recorder.frame)
            else:
                run = run_pipeline(
                    session,
                    source,
                    stop=over,
                    on_frame=lambda result: recorder.frame(result.times.inference_ns),
                )
                count, per_s = run.frames, run.frames_per_s
        energy.frames = count
        times, windows = recorder.finish(), tuple(recorder.windows)
        return SoakRecord(
            created=utc_now(),
            edgevision=edgevision.__version__,
            build=build_record(build, session),
            device=device_facts(),
            source=NOISE if source is None else Path(source.name).name,
            options=build.options,
            minutes=minutes,
            inference=StageRecord.of("inference in the soak", times),
            windows=windows,
            frames_per_s=round(per_s, 3),
            memory=memory_slope(windows),
            unstable=soak_instabilities(windows, power, power_state()),
            energy=energy.record(),
            power=power,
            warnings=warnings,
            git=git_state(),
        )


def memory_slope(windows: Sequence[SoakWindow]) -> MemorySlope | None:
    """Least squares over the resident memory at the ends of the windows, without the first one, which fills caches.

    The standard error is that of the slope of a straight line (any textbook of linear regression). None with fewer than
    three other windows.
    """
    later = windows[1:]
    if len(later) < 3:
        return None
    hours = np.array([(window.at_s + window.seconds) / 3600 for window in later])
    memory = np.array([window.resident_mib for window in later])
    slope, start = np.polyfit(hours, memory, 1)
    squares = float(np.sum((memory - start - slope * hours) ** 2))
    error = math.sqrt(squares / (len(later) - 2) / float(np.sum((hours - hours.mean()) ** 2)))
    return MemorySlope(
        round(float(slope), 3), round(error, 3), round(float(slope * (hours[-1] - hours[0])), 3)
    )


def soak_instabilities(
    windows: Sequence[SoakWindow], before: PowerState, after: PowerState
) -> tuple[str, ...]:
    """Reasons why the speed of a soak is not that of a shorter run."""
    found = []
    speed = drift([window.frames_per_s for window in windows])
    if abs(speed) > DRIFT_LIMIT:
        found.append(f"frames/s moved by {speed:+.0%} from first to last third")
    memory = memory_slope(windows)
    if memory is not None and memory.growth_mib > LEAST_GROWTH_MIB:
        found.append(f"resident memory grew by {memory.growth_mib:.0f} MiB after the first window")
    reasons = dict.fromkeys(reason for window in windows for reason in window.slowed_by)
    found += [f"slowed down by {reason}" for reason in reasons]
    return tuple(dict.fromkeys((*found, *meanwhile(before, after))))


def _medians(moments: Sequence[Sequence[FactReading]]) -> tuple[FactReading, ...]:
    """Median of each sensor."""
    values: dict[str, list[float]] = {}
    for moment in moments:
        for reading in moment:
            values.setdefault(reading.name, []).append(reading.value)
    return tuple(FactReading(name, round(statistics.median(found), 3)) for name, found in values.items())
