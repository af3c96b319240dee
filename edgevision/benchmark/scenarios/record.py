"""Records of scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgevision.benchmark.builds import BuildRecord
from edgevision.benchmark.energy import EnergyRecord, energy_line
from edgevision.benchmark.records import AccuracyRecord, StageRecord
from edgevision.benchmark.scenarios.options import Scenario, ScenarioOptions
from edgevision.benchmark.source_state import GitState
from edgevision.benchmark.stability import Snapshot
from edgevision.device.facts import DeviceFacts, Fact
from edgevision.device.power.state import PowerState

SCENARIO_SCHEMA = 2


@dataclass(frozen=True, slots=True)
class CameraFigures:
    """Frames of the camera scenario."""

    source_frames_per_s: float
    frames_per_s: float
    dropped: int
    """Replaced by a newer frame before inference."""
    missed: int
    """Not delivered, because this machine was busy when they were due."""


@dataclass(frozen=True, slots=True)
class LoadGenFigures:
    """LoadGen's view of the run."""

    version: str
    settings: tuple[Fact, ...]
    """All of LoadGen's settings."""
    summary: tuple[Fact, ...]
    """Lines of its summary."""
    logs: tuple[str, ...]
    """Files beside the record; empty if none were kept."""


@dataclass(frozen=True, slots=True)
class ScenarioRecord:
    """One run of a scenario on one machine."""

    created: str
    """UTC, ISO 8601."""
    edgevision: str
    build: BuildRecord
    device: DeviceFacts
    source: str
    threads: int | None
    spin: bool
    scenario: Scenario
    options: ScenarioOptions
    valid: bool
    """False if the run was shorter than its minimum, or a limit of the scenario was not met."""
    invalid_because: tuple[str, ...]
    latency: StageRecord
    """Of a query in single-stream and multi-stream, of a sample in offline and server. Camera: the result's age."""
    samples: int
    wall_s: float
    samples_per_s: float
    unstable: tuple[str, ...]
    loadgen: LoadGenFigures | None = None
    camera: CameraFigures | None = None
    trtexec: tuple[str, ...] = ()
    power: PowerState | None = None
    warnings: tuple[str, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    """The machine before, during and after the measurement."""
    git: GitState | None = None
    energy: EnergyRecord | None = None
    """Of the run; None in records of schema 1."""
    accuracy: AccuracyRecord | None = None
    """None if no labelled images were given."""
    kind: Literal["scenario"] = "scenario"
    schema: int = SCENARIO_SCHEMA


def scenario_lines(record: ScenarioRecord) -> list[str]:
    """The record in readable form."""
    build, latency = record.build, record.latency
    verdict = "VALID" if record.valid else "INVALID"
    lines = [
        f"{build.name}: {build.engine.library} on {build.engine.device}, batch {build.batch}",
        f"{record.scenario}: {verdict}, {record.samples} samples in {record.wall_s:.1f} s,"
        f" {record.samples_per_s:.1f} samples/s",
        f"{latency.name}: p50 {latency.p50_ms:.2f} ms, p90 {latency.p90_ms:.2f} ms, p99 {latency.p99_ms:.2f} ms"
        f" ({latency.count})",
    ]
    if record.camera is not None:
        camera = record.camera
        lines.append(
            f"camera at {camera.source_frames_per_s:g} frames/s: {camera.frames_per_s:.1f} frames/s,"
            f" {camera.dropped} dropped, {camera.missed} missed"
        )
    lines += [] if record.energy is None else [energy_line(record.energy)]
    lines += [] if record.accuracy is None else [record.accuracy.line]
    lines.append(f"trtexec's flags would be: {' '.join(record.trtexec)}")
    lines += [f"INVALID: {reason}" for reason in record.invalid_because]
    lines += [f"WARNING: {warning}" for warning in record.warnings]
    return lines + [f"UNSTABLE: {reason}" for reason in record.unstable]
