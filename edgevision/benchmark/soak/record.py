"""Records of soaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgevision.benchmark.builds import BuildRecord
from edgevision.benchmark.energy import EnergyRecord, energy_line
from edgevision.benchmark.records import AccuracyRecord, StageRecord
from edgevision.benchmark.source_state import GitState
from edgevision.contract.session import SessionOptions
from edgevision.device.facts import DeviceFacts, FactReading
from edgevision.device.power.state import PowerState

SOAK_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class SoakWindow:
    """One part of a soak; readings of the machine are medians over it."""

    at_s: float
    """Its start, since the first frame."""
    seconds: float
    frames: int
    frames_per_s: float
    p50_ms: float
    """Of inference, per frame."""
    p90_ms: float
    p99_ms: float
    resident_mib: float
    """At its end."""
    clocks_mhz: tuple[FactReading, ...]
    temperatures_c: tuple[FactReading, ...]
    watts: tuple[FactReading, ...]
    slowed_by: tuple[str, ...]
    """Reasons for throttling in any reading."""


@dataclass(frozen=True, slots=True)
class MemorySlope:
    """Growth of the process's resident memory after the first window."""

    mib_per_h: float
    error_mib_per_h: float
    """Standard error."""
    growth_mib: float
    """The slope times the time between the first and the last of its windows."""


@dataclass(frozen=True, slots=True)
class SoakRecord:
    """One long run of the overlapping pipeline, without output."""

    created: str
    """UTC, ISO 8601."""
    edgevision: str
    build: BuildRecord
    device: DeviceFacts
    source: str
    options: SessionOptions
    minutes: float
    """As requested."""
    inference: StageRecord
    """Of every frame, in order; of batches, the frame's share."""
    windows: tuple[SoakWindow, ...]
    frames_per_s: float
    """Of the whole run."""
    memory: MemorySlope | None
    """None with fewer than four windows."""
    unstable: tuple[str, ...]
    """Throttling, a drift of frames/s or a change of the power mode. A soak warms up by design: temperatures and clocks
    alone make no reason."""
    energy: EnergyRecord
    power: PowerState | None = None
    warnings: tuple[str, ...] = ()
    git: GitState | None = None
    accuracy: AccuracyRecord | None = None
    kind: Literal["soak"] = "soak"
    schema: int = SOAK_SCHEMA


def soak_lines(record: SoakRecord) -> list[str]:
    """The record in readable form."""
    build, inference = record.build, record.inference
    first, last = record.windows[0], record.windows[-1]
    slope = record.memory
    memory = "too few windows for a slope"
    if slope is not None:
        memory = f"slope {slope.mib_per_h:+.1f} ± {slope.error_mib_per_h:.1f} MiB/h, {slope.growth_mib:+.1f} MiB in all"
    lines = [
        f"{build.name}: {build.engine.library} on {build.engine.device}, batch {build.batch}",
        f"soak of {record.minutes:g} min in {len(record.windows)} windows: {record.frames_per_s:.1f} frames/s,"
        f" {first.frames_per_s:.1f} in the first window and {last.frames_per_s:.1f} in the last",
        f"inference: p50 {inference.p50_ms:.2f} ms, p90 {inference.p90_ms:.2f} ms, p99 {inference.p99_ms:.2f} ms"
        f" ({inference.count})",
        f"resident memory: {last.resident_mib:.0f} MiB at the end, {memory}",
    ]
    if last.temperatures_c:
        before = {reading.name: reading.value for reading in first.temperatures_c}
        hottest = max(last.temperatures_c, key=lambda reading: reading.value)
        began = before.get(hottest.name, hottest.value)
        lines.append(
            f"hottest sensor: {hottest.name}, {began:.0f} °C at first and {hottest.value:.0f} °C at last"
        )
    lines.append(energy_line(record.energy))
    lines += [] if record.accuracy is None else [record.accuracy.line]
    lines += [f"WARNING: {warning}" for warning in record.warnings]
    return lines + [f"UNSTABLE: {reason}" for reason in record.unstable]
