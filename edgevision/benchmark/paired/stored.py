"""Stored runs of one build: a record, or a folder of records."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgevision.benchmark.record_files import read_any_record
from edgevision.benchmark.records import BenchRecord
from edgevision.benchmark.scenarios.record import ScenarioRecord
from edgevision.benchmark.soak.record import SoakRecord
from edgevision.errors import UsageError


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One stored run of a build."""

    created: str
    """UTC, ISO 8601; runs are ordered by it."""
    median_ms: float
    """Of inference alone, per frame."""


@dataclass(frozen=True, slots=True)
class StoredRuns:
    """Runs of one build; all have the same graph, engine and batch."""

    path: Path
    records: tuple[BenchRecord, ...]

    def runs(self) -> tuple[StoredRun, ...]:
        """Median time of inference in each, in ms per frame."""
        return tuple(
            StoredRun(record.created, record.inference_alone.p50_ms / record.settings.batch)
            for record in self.records
        )

    @property
    def median_ms(self) -> float:
        """Median of the runs' medians."""
        return statistics.median(run.median_ms for run in self.runs())

    @property
    def build(self) -> str:
        """Model, graph, engine and batch on one line."""
        return _build(self.records[0])


def stored_runs(path: Path) -> StoredRuns:
    """Read a record, or every ``.json`` record of a folder. Raises `UsageError`.

    Files of a folder that are not records of `edgevision bench` are errors: a mistyped folder must not pass.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} has no .json file; expected records of `edgevision bench --record`")
    records = []
    for file in files:
        record = read_any_record(file)
        if isinstance(record, (ScenarioRecord, SoakRecord)):
            raise UsageError(
                f"{file} is of a {record.kind}; expected a record of `edgevision bench` without --{record.kind}"
            )
        if not isinstance(record, BenchRecord):
            raise UsageError(
                f"{file} already compares two builds: pass it alone, `edgevision compare {file}`"
            )
        records.append(record)
    builds = {_build(record): file for record, file in zip(records, files, strict=True)}
    if len(builds) > 1:
        listed = "; ".join(f"{file.name}: {build}" for build, file in builds.items())
        raise UsageError(f"{path} has runs of several builds: {listed}. Use one folder for each build")
    return StoredRuns(path, tuple(records))


def check_same_work(base: StoredRuns, new: StoredRuns) -> None:
    """Raise `UsageError` if the runs used different frames: their times are then not comparable."""
    for name in ("source", "frame_wh"):
        values = {str(getattr(r.settings, name)) for r in (*base.records, *new.records)}
        if len(values) > 1:
            raise UsageError(
                f"the runs differ in {name}: {', '.join(sorted(values))}; measure both on the same frames"
                " (edgevision bench --source)"
            )


def conditions(base: StoredRuns, new: StoredRuns) -> list[str]:
    """Differences of the machines, and runs that were unstable."""
    lines = []
    records = (*base.records, *new.records)
    for name in ("board", "cpu", "cores_usable", "gpus", "power_mode", "jetpack", "kernel"):
        values = _distinct(getattr(record.device, name) for record in records)
        if len(values) > 1:
            lines.append(f"the machines differ in {name}: {' / '.join(values)}")
    threads = _distinct(record.settings.threads for record in records)
    if len(threads) > 1:
        lines.append(f"the runs differ in threads: {' / '.join(threads)}")
    for side in (base, new):
        count = sum(bool(record.unstable) for record in side.records)
        if count:
            lines.append(f"{side.path}: {count} of {len(side.records)} runs UNSTABLE")
    return lines


def stage_rows(base: StoredRuns, new: StoredRuns) -> list[list[str]]:
    """Stage, medians of both in ms, and change in %, for each stage that both have."""
    rows = []
    before, after = ({s.name: s for s in side.records[-1].stages} for side in (base, new))
    for name in before:
        if name in after and before[name].p50_ms > 0:
            change = after[name].p50_ms / before[name].p50_ms - 1
            times = [f"{before[name].p50_ms:.2f} ms", f"{after[name].p50_ms:.2f} ms"]
            rows.append([name, *times, f"{change * 100:+.1f} %"])
    return rows


def _build(record: BenchRecord) -> str:
    graph = (record.graph_sha256 or "unknown graph")[:12]
    return f"{record.model} {graph} in {record.engine.library}, batch {record.settings.batch}"


def _distinct(values: Iterable[object]) -> list[str]:
    return list(dict.fromkeys("unknown" if value in (None, ()) else str(value) for value in values))
