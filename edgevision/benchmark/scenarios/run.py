"""Runs a scenario and makes its record."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import edgevision
from edgevision.benchmark.builds import Build, BuildRecord, FrameOpener, build_record, prepared
from edgevision.benchmark.energy import EnergyMeter, PowerSensor
from edgevision.benchmark.processes import MeasuringProcess
from edgevision.benchmark.records import StageRecord
from edgevision.benchmark.scenarios.options import Scenario, ScenarioOptions
from edgevision.benchmark.scenarios.record import CameraFigures, LoadGenFigures, ScenarioRecord
from edgevision.benchmark.scenarios.summary import (
    LOGS,
    disagreements,
    latency_stage,
    query_latencies,
    read_summary,
)
from edgevision.benchmark.source_state import git_state
from edgevision.benchmark.stability import MachineWatch, instabilities
from edgevision.benchmark.timing import MeasureSettings, Samples
from edgevision.benchmark.trtexec import trtexec_flags
from edgevision.contract.session import Session
from edgevision.contract.spec import FrameInput, utc_now
from edgevision.device.facts import Fact, device_facts
from edgevision.device.power.findings import before_timing, meanwhile
from edgevision.device.power.reading import power_state
from edgevision.engines.opening import CPU_ENGINES
from edgevision.errors import SinkError, SourceError, UsageError
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sources.frames import Source

CAMERA_WARMUP = 20
"""First results of a camera that are not counted: the pipeline does not know the engine's latency yet."""


@dataclass(frozen=True, slots=True)
class ScenarioOutcome:
    """Figures of a scenario before they become a record."""

    stage: StageRecord
    latencies: Samples
    samples: int
    wall_s: float
    invalid_because: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    loadgen: LoadGenFigures | None = None
    camera: CameraFigures | None = None


def run_scenario(
    build: Build,
    frames: FrameOpener,
    scenario: Scenario,
    options: ScenarioOptions,
    scratch: Path,
    logs: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ScenarioRecord:
    """Run a scenario of LoadGen; `logs` is the folder that receives its logs. Raises the errors of `open_session`."""
    side, contender, source = prepared(build, frames, scratch / "inputs.npz")

    def measured() -> ScenarioOutcome:
        folder = scratch / "logs"
        folder.mkdir()
        # Local import of an optional dependency: the camera scenario works without LoadGen.
        from edgevision.benchmark.scenarios.loadgen import run_loadgen

        with MeasuringProcess(build.name, run_loadgen, (contender, scenario, options, folder)) as process:
            run = process.receive()
        summary = read_summary(folder)
        by_query = scenario in ("single-stream", "multi-stream")
        ours = query_latencies(folder, by_query=by_query)
        stage = latency_stage("query" if by_query else "sample", ours)
        if logs is not None:
            _keep(folder, logs)
        kept = tuple(name for name in LOGS if logs is not None)
        settings = tuple(Fact(name, value) for name, value in run.settings)
        return ScenarioOutcome(
            stage=stage,
            latencies=ours,
            samples=run.samples,
            wall_s=run.wall_s,
            invalid_because=() if summary.valid else (summary.reasons or ("LoadGen: INVALID",)),
            doubts=disagreements(summary, stage),
            loadgen=LoadGenFigures(run.version, settings, summary.facts, kept),
        )

    return _recorded(build, side, source, (scenario, options), measured, progress)


def run_camera(
    build: Build,
    open_camera: Callable[[FrameInput], Source],
    options: ScenarioOptions,
    progress: Callable[[str], None] = lambda _: None,
) -> ScenarioRecord:
    """Run the pipeline on a camera at its own rate for the minimum time. Raises the errors of `open_session`."""
    with build.open() as session:
        camera = open_camera(session.spec.frames)
        rate = camera.fps
        if not camera.live or not rate:
            camera.close()
            raise UsageError(f"{camera.name} has no known frame rate; use a video, or loop:PATH@FPS")
        name = Path(camera.name).name
        record = build_record(build, session)
        return _recorded(
            build,
            record,
            name,
            ("camera", options),
            lambda: _camera_run(session, camera, options, rate),
            progress,
        )


def _camera_run(session: Session, camera: Source, options: ScenarioOptions, rate: float) -> ScenarioOutcome:
    ages_ns: list[int] = []
    ends_s = time.monotonic() + options.min_duration_s + CAMERA_WARMUP / rate
    summary = run_pipeline(
        session,
        camera,
        stop=lambda: time.monotonic() >= ends_s and len(ages_ns) > CAMERA_WARMUP,
        on_frame=lambda result: ages_ns.append(round(result.age_ms * 1e6)),
    )
    if len(ages_ns) <= CAMERA_WARMUP:
        raise SourceError(
            f"{camera.name} ended after {len(ages_ns)} frames; expected more than {CAMERA_WARMUP}"
        )
    ages = Samples(tuple(ages_ns[CAMERA_WARMUP:]))
    short = summary.wall_s < options.min_duration_s
    return ScenarioOutcome(
        stage=StageRecord.of("age of a result", ages),
        latencies=ages,
        samples=summary.frames,
        wall_s=summary.wall_s,
        invalid_because=(f"min duration {options.min_duration_s:g} s: {summary.wall_s:.1f} s",)
        if short
        else (),
        camera=CameraFigures(rate, summary.frames_per_s, summary.lost.dropped, summary.lost.missed),
    )


def _recorded(
    build: Build,
    side: BuildRecord,
    source: str,
    chosen: tuple[Scenario, ScenarioOptions],
    measured: Callable[[], ScenarioOutcome],
    progress: Callable[[str], None],
) -> ScenarioRecord:
    scenario, options = chosen
    power = power_state()
    warnings = before_timing(power)
    for warning in warnings:
        progress(f"WARNING: {warning}")
    energy = EnergyMeter(
        PowerSensor(on_gpu=side.engine.engine not in CPU_ENGINES), f"the scenario {scenario}"
    )
    with MachineWatch() as watch, energy.running():
        outcome = measured()
    energy.frames = outcome.samples
    progress(f"{scenario}: {outcome.samples} samples in {outcome.wall_s:.1f} s")
    # Offline sends all samples at once: their times grow by design.
    steady = Samples((1,)) if scenario == "offline" else outcome.latencies
    unstable = (*outcome.doubts, *instabilities(steady, watch.snapshots), *meanwhile(power, power_state()))
    timing = MeasureSettings(options.min_duration_s, options.min_queries, 0.2, 5)
    return ScenarioRecord(
        created=utc_now(),
        edgevision=edgevision.__version__,
        build=side,
        device=device_facts(),
        source=source,
        threads=build.options.threads,
        spin=build.options.spin,
        scenario=scenario,
        options=options,
        valid=not outcome.invalid_because,
        invalid_because=outcome.invalid_because,
        latency=outcome.stage,
        samples=outcome.samples,
        wall_s=round(outcome.wall_s, 4),
        samples_per_s=round(outcome.samples / outcome.wall_s, 4),
        unstable=tuple(dict.fromkeys(unstable)),
        loadgen=outcome.loadgen,
        camera=outcome.camera,
        trtexec=trtexec_flags(timing, side.engine, spin=build.options.spin),
        power=power,
        warnings=warnings,
        snapshots=watch.snapshots,
        git=git_state(),
        energy=energy.record(outcome.wall_s),
    )


def _keep(folder: Path, logs: Path) -> None:
    """Copy LoadGen's logs; raises `SinkError`."""
    try:
        logs.mkdir(parents=True, exist_ok=True)
        for name in LOGS:
            shutil.copyfile(folder / name, logs / name)
    except OSError as error:
        raise SinkError(f"cannot write LoadGen's logs to {logs}: {error.strerror}") from error
