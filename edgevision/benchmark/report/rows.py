"""The runs of a report, from records of every kind, and their accuracy."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevision.benchmark.builds import BuildRecord
from edgevision.benchmark.energy import EnergyRecord
from edgevision.benchmark.layers.record import ProfileRecord
from edgevision.benchmark.paired.record import PairedRecord
from edgevision.benchmark.record_files import Record, read_any_record
from edgevision.benchmark.records import AccuracyRecord, BenchRecord
from edgevision.benchmark.scenarios.record import ScenarioRecord
from edgevision.benchmark.soak.record import SoakRecord, SoakWindow
from edgevision.benchmark.timing import Samples
from edgevision.device.facts import DeviceFacts
from edgevision.errors import UsageError

METRICS = (
    ("ap", "AP", 1),
    ("miou", "mIoU", 1),
    ("top1", "top-1", 1),
    ("psnr", "PSNR", 1),
    ("agreement", "class asked for", 100),
)
"""Keys of the records of `edgevision eval`, their names, and factors to points of 100; PSNR in dB."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One metric of one graph."""

    metric: str
    """"AP", "mIoU", "top-1", "PSNR" or "class asked for"."""
    points: float


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One run of one build."""

    label: str
    """Model, engine, precision, and the scenario."""
    file: str
    created: str
    library: str
    batch: int
    latency_of: str
    """What the latencies are of, such as "inference alone"."""
    latencies: Samples
    p50_ms: float
    p90_ms: float
    p99_ms: float
    frames_per_s: float | None
    stages: tuple[tuple[str, float], ...]
    """Names and means in ms per frame; empty if the stages were not timed."""
    memory_mib: float | None
    device: DeviceFacts
    notes: tuple[str, ...]
    """INVALID and UNSTABLE with their reasons."""
    accuracy: Accuracy | None = None
    profile: ProfileRecord | None = None
    """The layers, of a record of `edgevision profile`."""
    energy: EnergyRecord | None = None
    windows: tuple[SoakWindow, ...] = ()
    """Of a soak."""


def report_rows(paths: Sequence[Path], accuracies: dict[Path, Accuracy]) -> tuple[ReportRow, ...]:
    """Read records, in this order; a folder stands for its ``.json`` files. Raises `UsageError`.

    `accuracies` are by path of a record, which must be among the records.
    """
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found:
            raise UsageError(f"{path} has no .json file; expected records of `edgevision bench --record`")
        files += found
    known = {file.resolve() for file in files}
    for path in accuracies:
        if path.resolve() not in known:
            raise UsageError(f"--accuracy names {path}, which is not among the records of this report")
    by_path = {path.resolve(): accuracy for path, accuracy in accuracies.items()}
    rows: list[ReportRow] = []
    for file in files:
        rows += _rows(file, read_any_record(file), by_path.get(file.resolve()))
    return tuple(rows)


def read_accuracy(path: Path) -> Accuracy:
    """The main metric of a record of `edgevision eval`. Raises `UsageError`."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read accuracy record {path}: {error}") from error
    found = main_metric(data)
    if found is None:
        raise UsageError(
            f"{path} has none of {', '.join(key for key, *_ in METRICS)}; expected `edgevision eval --record`"
        )
    return found


def main_metric(evaluated: object) -> Accuracy | None:
    """The main metric in the JSON value of `edgevision eval --record`; None if it has none."""
    for part in (evaluated, evaluated.get("boxes") if isinstance(evaluated, dict) else None):
        for key, name, points in METRICS:
            value = part.get(key) if isinstance(part, dict) else None
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                return Accuracy(name, points * float(value))
    return None


def front(rows: Sequence[ReportRow]) -> tuple[tuple[ReportRow, Accuracy], ...]:
    """The rows with accuracy of which no other is at least as fast and more accurate, or faster and as accurate.

    The fastest comes first. Only rows with the metric of the first one count, because others are not comparable.
    """
    measured = comparable(rows)
    ordered = sorted(measured, key=lambda pair: (pair[0].p50_ms / pair[0].batch, -pair[1].points))
    kept: list[tuple[ReportRow, Accuracy]] = []
    best = -math.inf
    for row, accuracy in ordered:
        if accuracy.points > best:
            kept.append((row, accuracy))
            best = accuracy.points
    return tuple(kept)


def comparable(rows: Sequence[ReportRow]) -> list[tuple[ReportRow, Accuracy]]:
    """Rows that have an accuracy in the metric of the first such row."""
    found = [(row, row.accuracy) for row in rows if row.accuracy is not None]
    return [(row, accuracy) for row, accuracy in found if accuracy.metric == found[0][1].metric]


def _rows(file: Path, record: Record, accuracy: Accuracy | None) -> list[ReportRow]:
    if isinstance(record, BenchRecord):
        return [_bench_row(file, record, accuracy)]
    if isinstance(record, ScenarioRecord):
        return [_scenario_row(file, record, accuracy)]
    if isinstance(record, ProfileRecord):
        return [_profile_row(file, record, accuracy)]
    if isinstance(record, SoakRecord):
        return [_soak_row(file, record, accuracy)]
    sides = ((record.base, [p.base for p in record.pairs]), (record.new, [p.new for p in record.pairs]))
    return [
        _side_row(
            file, record, build, Samples(tuple(v for part in parts for v in part.values_ns())), accuracy
        )
        for build, parts in sides
    ]


def _bench_row(file: Path, record: BenchRecord, accuracy: Accuracy | None) -> ReportRow:
    alone = record.inference_alone
    parts = (record.model, record.engine.engine, record.precision)
    return ReportRow(
        label=" ".join(part for part in parts if part),
        file=file.name,
        created=record.created,
        library=record.engine.library,
        batch=record.settings.batch,
        latency_of=alone.name,
        latencies=Samples(alone.samples.values_ns()),
        p50_ms=alone.p50_ms,
        p90_ms=alone.p90_ms,
        p99_ms=alone.p99_ms,
        frames_per_s=record.end_to_end_frames_per_s,
        stages=tuple((stage.name, stage.mean_ms) for stage in record.stages),
        memory_mib=record.peak_resident_mib,
        device=record.device,
        notes=tuple(f"UNSTABLE: {reason}" for reason in record.unstable),
        accuracy=accuracy or _own(record.accuracy),
        energy=record.energy,
    )


def _own(accuracy: AccuracyRecord | None) -> Accuracy | None:
    """The accuracy that a record contains."""
    return None if accuracy is None else Accuracy(accuracy.metric, accuracy.points)


def _soak_row(file: Path, record: SoakRecord, accuracy: Accuracy | None) -> ReportRow:
    inference = record.inference
    return ReportRow(
        label=f"{_label(record.build)}, soak of {record.minutes:g} min",
        file=file.name,
        created=record.created,
        library=record.build.engine.library,
        batch=1,
        latency_of=f"{inference.name}, per frame",
        latencies=Samples(inference.samples.values_ns()),
        p50_ms=inference.p50_ms,
        p90_ms=inference.p90_ms,
        p99_ms=inference.p99_ms,
        frames_per_s=record.frames_per_s,
        stages=(),
        memory_mib=max(window.resident_mib for window in record.windows),
        device=record.device,
        notes=tuple(f"UNSTABLE: {reason}" for reason in record.unstable),
        accuracy=accuracy or _own(record.accuracy),
        energy=record.energy,
        windows=record.windows,
    )


def _scenario_row(file: Path, record: ScenarioRecord, accuracy: Accuracy | None) -> ReportRow:
    notes = [f"INVALID: {reason}" for reason in record.invalid_because]
    notes += [f"UNSTABLE: {reason}" for reason in record.unstable]
    return ReportRow(
        label=f"{_label(record.build)}, {record.scenario}",
        file=file.name,
        created=record.created,
        library=record.build.engine.library,
        batch=record.build.batch,
        latency_of=record.latency.name,
        latencies=Samples(record.latency.samples.values_ns()),
        p50_ms=record.latency.p50_ms,
        p90_ms=record.latency.p90_ms,
        p99_ms=record.latency.p99_ms,
        frames_per_s=record.samples_per_s if record.camera is None else record.camera.frames_per_s,
        stages=(),
        memory_mib=None,
        device=record.device,
        notes=tuple(notes),
        accuracy=accuracy or _own(record.accuracy),
        energy=record.energy,
    )


def _profile_row(file: Path, record: ProfileRecord, accuracy: Accuracy | None) -> ReportRow:
    alone = record.inference_alone
    return ReportRow(
        label=f"{_label(record.build)}, profile",
        file=file.name,
        created=record.created,
        library=record.build.engine.library,
        batch=record.build.batch,
        latency_of=alone.name,
        latencies=Samples(alone.samples.values_ns()),
        p50_ms=alone.p50_ms,
        p90_ms=alone.p90_ms,
        p99_ms=alone.p99_ms,
        frames_per_s=None,
        stages=(),
        memory_mib=None,
        device=record.device,
        notes=record.notes,
        accuracy=accuracy,
        profile=record,
    )


def _side_row(
    file: Path, record: PairedRecord, build: BuildRecord, calls: Samples, accuracy: Accuracy | None
) -> ReportRow:
    p50_ms, p90_ms, p99_ms = (round(calls.percentile_ms(percent), 4) for percent in (50, 90, 99))
    return ReportRow(
        label=_label(build),
        file=file.name,
        created=record.created,
        library=build.engine.library,
        batch=build.batch,
        latency_of="inference in pairs",
        latencies=calls,
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
        frames_per_s=None,
        stages=(),
        memory_mib=None,
        device=record.device,
        notes=tuple(f"UNSTABLE: {reason}" for reason in record.unstable),
        accuracy=accuracy,
    )


def _label(build: BuildRecord) -> str:
    return " ".join(part for part in (build.model, build.engine.engine, build.precision) if part)
