"""Benchmark records: measurements, machine and stability."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevision.benchmark.timing import DRIFT_LIMIT, Samples, drift
from edgevision.contract.session import EngineInfo
from edgevision.device.facts import DeviceFacts, FactReading
from edgevision.device.power.state import PowerState
from edgevision.errors import SinkError, UsageError
from edgevision.storage import atomic
from edgevision.storage.codec import DecodeError, dataclass_from_json, json_from_dataclass, newer_schema

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class StageRecord:
    """The times of one stage."""

    name: str
    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    samples_us: tuple[int, ...]
    """Every sample, in order."""

    @classmethod
    def of(cls, name: str, samples: Samples) -> StageRecord:
        """Summarise the samples and keep them."""
        p50_ms, p90_ms, p99_ms = (round(samples.percentile_ms(percent), 4) for percent in (50, 90, 99))
        microseconds = tuple(round(value / 1e3) for value in samples.values_ns)
        return cls(name, len(samples), round(samples.mean_ms, 4), p50_ms, p90_ms, p99_ms, microseconds)


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round of a paired comparison, with both parts measured one after the other."""

    inference_frames_per_s: float
    end_to_end_frames_per_s: float

    @property
    def ratio(self) -> float:
        """End-to-end rate divided by the rate of inference alone."""
        return self.end_to_end_frames_per_s / self.inference_frames_per_s


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """All settings of a benchmark."""

    source: str
    frame_wh: tuple[int, int]
    input_wh: tuple[int, int]
    batch: int
    threads: int | None
    spin: bool
    threshold: float | tuple[float, ...]
    """Minimum confidence of a detection; several: one for each class."""
    rounds: int
    min_s: float
    min_count: int
    warmup_s: float
    warmup_count: int


@dataclass(frozen=True, slots=True)
class BenchRecord:
    """One benchmark of one model on one machine."""

    created: str
    """UTC, ISO 8601."""
    edgevision: str
    model: str
    graph_sha256: str | None
    engine: EngineInfo
    device: DeviceFacts
    settings: BenchSettings
    stages: tuple[StageRecord, ...]
    """Of the serial loop, per frame; output is drawing and encoding a video."""
    inference_alone: StageRecord
    """Of the paired rounds, per call."""
    rounds: tuple[RoundRecord, ...]
    inference_frames_per_s: float
    """Median of the rounds."""
    end_to_end_frames_per_s: float
    """Median of the rounds: overlapping stages, no output."""
    end_to_end_ratio: float
    """Median of the rounds' ratios."""
    stages_sum_ms: float
    """Sum of the stages' means."""
    serial_wall_ms: float
    """Wall time of the serial loop over its frames."""
    resident_mib: float
    peak_resident_mib: float
    unstable: tuple[str, ...]
    """Quantities that drifted during the measurement; such results are not comparable."""
    device_time: StageRecord | None = None
    """Of the same calls as `inference_alone`, by the device's own clock; None for an engine without one."""
    power: PowerState | None = None
    """Clocks with their limits, power and throttling at the start."""
    warnings: tuple[str, ...] = ()
    """Conditions that bind the results to these clocks."""
    schema: int = SCHEMA

    @property
    def stages_share(self) -> float:
        """Share of the wall time that the stages explain."""
        return self.stages_sum_ms / self.serial_wall_ms


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The machine's state at one moment of a benchmark."""

    clocks_mhz: tuple[FactReading, ...]
    temperatures_c: tuple[FactReading, ...]


def instabilities(inference: Samples, snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    """Quantities whose medians in the first and the last third differ by more than `DRIFT_LIMIT`."""
    series: dict[str, list[float]] = {
        "inference latency in ms": [value / 1e6 for value in inference.values_ns]
    }
    for snapshot in snapshots:
        for kind, readings in (
            ("clock in MHz of", snapshot.clocks_mhz),
            ("degrees of", snapshot.temperatures_c),
        ):
            for reading in readings:
                series.setdefault(f"{kind} {reading.name}", []).append(reading.value)
    return tuple(
        f"{name} moved by {drift(values):+.0%} from first to last third"
        for name, values in series.items()
        if abs(drift(values)) > DRIFT_LIMIT
    )


def write_record(path: Path, record: BenchRecord) -> None:
    """Write JSON atomically; raises `SinkError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, (json.dumps(json_from_dataclass(record), indent=1) + "\n").encode())
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from error


def read_record(path: Path) -> BenchRecord:
    """Read the output of `write_record`; raises `UsageError`."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read benchmark record {path}: {error}") from error
    newer = newer_schema(data, SCHEMA)
    if newer is not None:
        raise UsageError(f"{path} has {newer}")
    try:
        return dataclass_from_json(BenchRecord, data)
    except DecodeError as error:
        raise UsageError(f"{path} is not a benchmark record: {error}") from error


def record_lines(record: BenchRecord) -> list[str]:
    """The record in readable form."""
    settings = record.settings
    hashed = f", sha256 {record.graph_sha256[:12]}" if record.graph_sha256 else ""
    frame, size = ("x".join(map(str, wh)) for wh in (settings.frame_wh, settings.input_wh))
    lines = [
        f"{record.model}{hashed}: {record.engine.library} on {record.engine.device}, batch {settings.batch}",
        f"{settings.source}, {frame} frames to {size} input",
        *(f"  {note}" for note in record.engine.notes),
        *_device_lines(record.device),
        "",
        f"{'stage':<16}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'mean ms':>9}{'frames':>8}",
    ]
    lines += [
        f"{s.name:<16}{s.p50_ms:>9.2f}{s.p90_ms:>9.2f}{s.p99_ms:>9.2f}{s.mean_ms:>9.2f}{s.count:>8}"
        for s in (*record.stages, record.inference_alone, record.device_time)
        if s is not None
    ]
    low, high = (choose(r.ratio for r in record.rounds) for choose in (min, max))
    lines += [
        "",
        f"stages add up to {record.stages_sum_ms:.2f} ms of {record.serial_wall_ms:.2f} ms a frame:"
        f" {record.stages_share:.1%}",
        f"{record.end_to_end_frames_per_s:.1f} frames/s end to end with overlapping stages, nothing written;"
        f" {record.inference_frames_per_s:.1f} by inference alone",
        f"ratio {record.end_to_end_ratio:.3f} (median of {len(record.rounds)} paired rounds, {low:.3f} to {high:.3f})",
        f"{record.resident_mib:.0f} MiB resident, {record.peak_resident_mib:.0f} MiB at the peak",
    ]
    lines += [f"WARNING: {warning}" for warning in record.warnings]
    return lines + [f"UNSTABLE: {reason}" for reason in record.unstable]


def _device_lines(device: DeviceFacts) -> list[str]:
    parts = [
        device.board,
        device.cpu,
        device.cpu_class,
        f"{device.cores_usable:g} cores",
        f"{device.memory_mib} MiB",
        *device.gpus,
    ]
    system = [
        device.system,
        f"kernel {device.kernel}",
        f"Python {device.python}",
        device.l4t and f"L4T {device.l4t}",
        device.jetpack and f"JetPack {device.jetpack}",
        f"power mode {device.power_mode or 'unknown'}",
    ]
    sensors = [f"{r.name} {r.value:.0f} MHz" for r in device.clocks_mhz]
    sensors += [f"{r.name} {r.value:.0f} °C" for r in device.temperatures_c]
    lines = [", ".join(part for part in parts if part), ", ".join(part for part in system if part)]
    missing = "clocks and temperatures: not readable"
    if device.gpus:
        missing += "; for those of cards: pip install nvidia-ml-py"
    return [*lines, ", ".join(sensors) if sensors else missing]
