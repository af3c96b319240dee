"""Benchmarks a session of a model that makes images: noise, inference, and the encoding of PNG files."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from edgevision.benchmark.bench import (
    BenchOptions,
    Subject,
    Workload,
    inference_alone,
    measured,
)
from edgevision.benchmark.builds import Build, graph_sha256
from edgevision.benchmark.energy import EnergyMeter
from edgevision.benchmark.inputs import NOISE, SEED, noise_batches
from edgevision.benchmark.records import BenchRecord, BenchSettings, RoundRecord, StageRecord
from edgevision.benchmark.timing import MeasureSettings, Samples
from edgevision.contract.inputs import Batch, sample_tensors
from edgevision.contract.session import Session
from edgevision.errors import UsageError
from edgevision.sinks.files.png import png_bytes
from edgevision.sources.frames import Source

STAGES = ("noise", "inference", "output")


def bench_noise(
    subject: Subject, options: BenchOptions, progress: Callable[[str], None] = lambda _: None
) -> BenchRecord:
    """`bench.bench` for a model that makes images; `subject.open_frames` is not used.

    The stages follow one another. Their times are those of a batch, divided by its images. A round compares inference
    alone with all stages in a loop.
    """
    size = subject.session.spec.batch.opt
    batches = noise_batches(subject.session.spec.tensors)

    def paired_round(
        given: Iterator[Batch], on_device: list[int], energy: EnergyMeter
    ) -> tuple[RoundRecord, Samples]:
        whole = options.measure
        count = math.ceil(whole.min_count / options.rounds)
        part = MeasureSettings(whole.min_s / options.rounds, count, 0.0, 0)
        alone = inference_alone(subject.session, given, part, on_device)
        with energy.running():
            timed = _loop(subject.session, part)
        energy.frames += timed.images
        return RoundRecord(len(alone) * size / alone.total_s, timed.images / timed.wall_s), alone

    def stages() -> tuple[tuple[StageRecord, ...], float]:
        timed = _loop(subject.session, options.measure)
        records = tuple(StageRecord.of(name, Samples(tuple(timed.stages_ns[name]))) for name in STAGES)
        return records, timed.wall_s * 1e3 / timed.images

    workload = Workload(batches, paired_round, stages, _settings(subject, options), "all stages in turn")
    return measured(subject, options, workload, progress)


@dataclass(slots=True)
class _Timed:
    """Times of a loop."""

    images: int = 0
    wall_s: float = 0.0
    stages_ns: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in STAGES})
    """For one image of each batch."""


def _loop(session: Session, settings: MeasureSettings) -> _Timed:
    """Make and encode images until time and count are reached."""
    timed, size = _Timed(), session.spec.batch.opt
    began_ns = time.perf_counter_ns()
    batches = _batches(session)
    while timed.images < settings.min_count or time.perf_counter_ns() - began_ns < settings.min_s * 1e9:
        for name, spent_ns in next(batches).items():
            timed.stages_ns[name].append(round(spent_ns / size))
        timed.images += size
    timed.wall_s = (time.perf_counter_ns() - began_ns) / 1e9
    return timed


def make_images(session: Session, over: Callable[[], bool], made: Callable[[int], None]) -> tuple[int, float]:
    """Make and encode images until `over`; `made` receives the inference time of each image's batch in ns.

    Returns the number of images, and images/s.
    """
    count, began_s, size = 0, time.perf_counter(), session.spec.batch.opt
    batches = _batches(session)
    while not over():
        inference_ns = next(batches)["inference"]
        for _ in range(size):
            made(inference_ns)
        count += size
    return count, count / (time.perf_counter() - began_s)


def _batches(session: Session) -> Iterator[dict[str, int]]:
    """Make batches without end, encode and discard them; yields the time of each stage of a batch in ns."""
    size = session.spec.batch.opt
    for first in itertools.count(SEED, size):
        stamps_ns = [time.perf_counter_ns()]
        tensors = sample_tensors(session.spec.tensors, first, size)
        stamps_ns.append(time.perf_counter_ns())
        (images,) = session.infer(tensors)
        stamps_ns.append(time.perf_counter_ns())
        for image in images:
            png_bytes(image, {})
        stamps_ns.append(time.perf_counter_ns())
        yield {
            name: end - begin
            for name, (begin, end) in zip(STAGES, itertools.pairwise(stamps_ns), strict=True)
        }


def _settings(subject: Subject, options: BenchOptions) -> BenchSettings:
    spec, settings = subject.session.spec, options.measure
    height, width = spec.outputs[0].shape[1:3]
    return BenchSettings(
        source=NOISE,
        frame_wh=(width, height),
        input_wh=(0, 0),
        batch=spec.batch.opt,
        threads=subject.session_options.threads,
        spin=subject.session_options.spin,
        threshold=0.0,
        rounds=options.rounds,
        min_s=settings.min_s,
        min_count=settings.min_count,
        warmup_s=settings.warmup_s,
        warmup_count=settings.warmup_count,
    )


def measured_noise(
    build: Build, options: BenchOptions, progress: Callable[[str], None] = lambda _: None
) -> BenchRecord:
    """Open a build and run `bench_noise`."""

    def no_frames() -> Source:
        raise UsageError("the model takes no frames")

    with build.open() as session:
        digest = graph_sha256(build.path, session.precision)
        return bench_noise(Subject(session, digest, build.options, no_frames), options, progress)
