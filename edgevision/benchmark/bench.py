"""Benchmarks a session on real frames: each stage, and the overlapping pipeline relative to inference alone."""

from __future__ import annotations

import contextlib
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import edgevision
from edgevision.benchmark.energy import EnergyMeter, PowerSensor
from edgevision.benchmark.inputs import PREPARED_BATCHES
from edgevision.benchmark.records import BenchRecord, BenchSettings, RoundRecord, StageRecord
from edgevision.benchmark.source_state import git_state
from edgevision.benchmark.stability import MachineWatch, instabilities
from edgevision.benchmark.timing import MeasureSettings, Samples, measure
from edgevision.benchmark.trtexec import trtexec_flags
from edgevision.contract.image import fit_frame
from edgevision.contract.inputs import Batch
from edgevision.contract.session import Frames, Session, SessionOptions
from edgevision.contract.spec import utc_now
from edgevision.contract.thresholds import ClassThresholds, Threshold
from edgevision.device.facts import device_facts, peak_resident_mib, resident_mib
from edgevision.device.power.findings import before_timing, meanwhile
from edgevision.device.power.reading import power_state
from edgevision.device.power.state import PowerState
from edgevision.engines.opening import CPU_ENGINES
from edgevision.errors import UsageError
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sinks.frame_result import FrameResult, StageTimes
from edgevision.sinks.sink import Sink
from edgevision.sources.frames import Source, SourceFrame


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """Settings of a benchmark."""

    measure: MeasureSettings
    """For each phase, in total: inference alone, end to end (both divided into rounds), the serial loop."""
    rounds: int = 3
    threshold: Threshold | None = None
    """Minimum confidence of a detection; None: the session's."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The session under test and its origin."""

    session: Session
    graph_sha256: str | None
    session_options: SessionOptions
    open_frames: Callable[[], Source]
    """Opens the frames; they are repeated as often as needed."""


class RepeatedSource(Source):
    """A file source that restarts at its end."""

    def __init__(self, open_frames: Callable[[], Source]) -> None:
        self._open_frames = open_frames
        self._planes = False
        self._inner = open_frames()
        super().__init__(self._inner.name, live=False, fps=self._inner.fps, frame_count=None)
        self.size_wh = self._inner.size_wh
        if self._inner.live:
            self.close()
            raise UsageError(
                f"a benchmark on {self.name} would measure its frame rate; use a video or images instead"
            )

    def read(self) -> SourceFrame | None:
        """The next frame, or the first one again; reopening counts as part of its decoding."""
        frame = self._inner.read()
        if frame is not None:
            return frame
        began_ns = time.perf_counter_ns()
        self._inner.close()
        self._inner = self._open_frames()
        if self._planes:
            self._inner.use_planes()
        frame = self._inner.read()
        return None if frame is None else replace(frame, decode_ns=time.perf_counter_ns() - began_ns)

    def use_planes(self) -> None:
        """Whenever the source is opened."""
        self._planes = True
        self._inner.use_planes()

    def close(self) -> None:
        """Close the source that is open."""
        self._inner.close()


def bench(
    subject: Subject,
    options: BenchOptions,
    open_output: Callable[[Source], Sink],
    progress: Callable[[str], None] = lambda _: None,
) -> BenchRecord:
    """Run the benchmark and summarise it.

    Each round runs inference alone and then the overlapping pipeline for the same time, so that other load affects
    both. The ratio is the median of the rounds' ratios. A serial loop times the stages, with drawing and writing to
    `open_output`'s sink, because only there they add up to the wall time.
    """
    batches, frame_wh = prepared_batches(subject)
    workload = Workload(
        batches,
        lambda given, on_device, energy: paired_round(subject, given, options, on_device, energy),
        lambda: serial_stages(subject, options, open_output),
        _settings(subject, options, frame_wh),
        "the overlapping pipeline",
    )
    return measured(subject, options, workload, progress)


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """What a benchmark runs."""

    batches: tuple[Batch, ...]
    """For inference alone, in turn."""
    paired_round: Callable[[Iterator[Batch], list[int], EnergyMeter], tuple[RoundRecord, Samples]]
    """Inference alone, then everything, for the same time.

    The list receives the times of the first part by the device's clock in ns; the meter measures the second part.
    """
    stages: Callable[[], tuple[tuple[StageRecord, ...], float]]
    """Times of the stages in a serial loop, and the wall time of a frame in ms."""
    settings: BenchSettings
    everything: str
    """Name of the second part of a round, for the record of energy."""


def measured(
    subject: Subject,
    options: BenchOptions,
    workload: Workload,
    progress: Callable[[str], None] = lambda _: None,
) -> BenchRecord:
    """Run a workload and summarise it, as `bench` describes."""
    session = subject.session
    power = power_state()
    for warning in before_timing(power):
        progress(f"WARNING: {warning}")
    timed = _Timed()
    sensor = PowerSensor(on_gpu=session.info.engine not in CPU_ENGINES)
    energy = EnergyMeter(sensor, workload.everything)
    with MachineWatch() as watch:
        _run_rounds(session, workload, options, timed, energy, progress)
        stages, serial_wall_ms = workload.stages()
    progress("stages timed in a serial loop")
    inference, rounds, on_device = Samples(tuple(timed.alone)), tuple(timed.rounds), tuple(timed.on_device)
    return BenchRecord(
        created=utc_now(),
        edgevision=edgevision.__version__,
        model=session.spec.name,
        graph_sha256=subject.graph_sha256,
        engine=session.info,
        device=device_facts(),
        settings=workload.settings,
        stages=stages,
        inference_alone=StageRecord.of("inference alone", inference),
        rounds=rounds,
        inference_frames_per_s=statistics.median(r.inference_frames_per_s for r in rounds),
        end_to_end_frames_per_s=statistics.median(r.end_to_end_frames_per_s for r in rounds),
        end_to_end_ratio=statistics.median(r.ratio for r in rounds),
        stages_sum_ms=round(sum(stage.mean_ms for stage in stages), 4),
        serial_wall_ms=round(serial_wall_ms, 4),
        resident_mib=round(resident_mib(), 1),
        peak_resident_mib=round(peak_resident_mib(), 1),
        unstable=_unstable(inference, watch, power),
        power=power,
        warnings=before_timing(power),
        device_time=StageRecord.of("on the device", Samples(on_device)) if on_device else None,
        precision=session.precision,
        source_sha256=session.spec.provenance.source_sha256,
        options=subject.session_options,
        snapshots=watch.snapshots,
        git=git_state(),
        trtexec=trtexec_flags(options.measure, session.info, spin=subject.session_options.spin),
        energy=energy.record(),
    )


@dataclass(slots=True)
class _Timed:
    """Measurements of the rounds so far, in ns."""

    alone: list[int] = field(default_factory=list)
    on_device: list[int] = field(default_factory=list)
    rounds: list[RoundRecord] = field(default_factory=list)


def _run_rounds(
    session: Session,
    workload: Workload,
    options: BenchOptions,
    timed: _Timed,
    energy: EnergyMeter,
    progress: Callable[[str], None],
) -> None:
    batches = itertools.cycle(workload.batches)
    _warm_up(session, batches, options.measure)
    for number in range(options.rounds):
        record, samples = workload.paired_round(batches, timed.on_device, energy)
        timed.rounds.append(record)
        timed.alone += samples.values_ns
        progress(f"round {number + 1} of {options.rounds}: {record.end_to_end_frames_per_s:.1f} frames/s")


def _warm_up(session: Session, batches: Iterator[Batch], settings: MeasureSettings) -> None:
    part = MeasureSettings(settings.warmup_s, max(settings.warmup_count, 1), 0.0, 0)
    measure(lambda: session.infer(next(batches)), part)


def _unstable(inference: Samples, watch: MachineWatch, before: PowerState) -> tuple[str, ...]:
    """All reasons, each once."""
    found = (*instabilities(inference, watch.snapshots), *meanwhile(before, power_state()))
    return tuple(dict.fromkeys(found))


def paired_round(
    subject: Subject,
    batches: Iterator[Batch],
    options: BenchOptions,
    on_device: list[int],
    energy: EnergyMeter | None = None,
) -> tuple[RoundRecord, Samples]:
    """Inference alone, then the overlapping pipeline for the same time, without output.

    `on_device` receives the nanoseconds of each call of the first part by the device's clock, if it has one. `energy`
    measures the second part.
    """
    whole, batch = options.measure, subject.session.spec.batch.opt
    part = MeasureSettings(whole.min_s / options.rounds, math.ceil(whole.min_count / options.rounds), 0.0, 0)

    samples = inference_alone(subject.session, batches, part, on_device)
    seen: list[None] = []
    source = RepeatedSource(subject.open_frames)
    with contextlib.nullcontext() if energy is None else energy.running():
        run = run_pipeline(
            subject.session,
            source,
            options=PipelineOptions(threshold=options.threshold),
            stop=_after(part, lambda: len(seen)),
            on_frame=lambda _: seen.append(None),
        )
    if energy is not None:
        energy.frames += run.frames
    return RoundRecord(len(samples) * batch / samples.total_s, run.frames_per_s), samples


def inference_alone(
    session: Session, batches: Iterator[Batch], part: MeasureSettings, on_device: list[int]
) -> Samples:
    """Times of calls of the engine; `on_device` receives their nanoseconds by the device's clock, if it has one."""

    def call() -> None:
        session.infer(next(batches))
        if session.device_ms is not None:
            on_device.append(round(session.device_ms * 1e6))

    return measure(call, part)


def serial_stages(
    subject: Subject, options: BenchOptions, open_output: Callable[[Source], Sink]
) -> tuple[tuple[StageRecord, ...], float]:
    """The stages' times in a serial loop with output, and the wall time of a frame in ms.

    The first batch is warm-up, because its first frame was read when the source was opened. The wall time runs from the
    end of that batch to the end of the last one.
    """
    seen: list[StageTimes] = []
    stamps_ns: list[int] = []

    def keep(processed: FrameResult) -> None:
        seen.append(processed.times)
        stamps_ns.append(time.perf_counter_ns())

    first = subject.session.spec.batch.opt
    source = RepeatedSource(subject.open_frames)
    run_pipeline(
        subject.session,
        source,
        [open_output(source)],
        options=PipelineOptions(threshold=options.threshold, serial=True),
        stop=_after(options.measure, lambda: len(seen) - first),
        on_frame=keep,
    )
    rows = [times.in_ms() for times in seen[first:]]
    stages = tuple(
        StageRecord.of(name, Samples(tuple(round(row[name] * 1e6) for row in rows))) for name in rows[0]
    )
    return stages, (stamps_ns[-1] - stamps_ns[first - 1]) / 1e6 / len(rows)


def prepared_batches(subject: Subject) -> tuple[tuple[Frames, ...], tuple[int, int]]:
    """The first frames as batches in the graph's format, and the size of the first frame."""
    spec = subject.session.spec
    batches = []
    with RepeatedSource(subject.open_frames) as source:
        if spec.frames.layout == "nv12":
            source.use_planes()
        for _ in range(PREPARED_BATCHES):
            batch = np.empty((spec.frames.batch.opt, *spec.frames.frame_shape), np.uint8)
            for row, frame in zip(batch, source, strict=False):
                fit_frame(frame.pixels, spec.frames, out=row)
            batches.append(batch)
        return tuple(batches), source.size_wh


def _settings(subject: Subject, options: BenchOptions, frame_wh: tuple[int, int]) -> BenchSettings:
    frames, settings = subject.session.spec.frames, options.measure
    threshold = subject.session.threshold if options.threshold is None else options.threshold
    with subject.open_frames() as source:
        name = Path(source.name).name
    return BenchSettings(
        source=name,
        frame_wh=frame_wh,
        input_wh=frames.size_wh,
        batch=frames.batch.opt,
        threads=subject.session_options.threads,
        spin=subject.session_options.spin,
        threshold=threshold.values if isinstance(threshold, ClassThresholds) else threshold,
        rounds=options.rounds,
        min_s=settings.min_s,
        min_count=settings.min_count,
        warmup_s=settings.warmup_s,
        warmup_count=settings.warmup_count,
    )


def _after(settings: MeasureSettings, count: Callable[[], int]) -> Callable[[], bool]:
    """True once both the time, from now on, and the count are reached."""
    began_ns = time.perf_counter_ns()
    return lambda: count() >= settings.min_count and time.perf_counter_ns() - began_ns >= settings.min_s * 1e9
