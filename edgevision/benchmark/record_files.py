"""Reads and writes records, those of earlier versions included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgevision.benchmark.layers.record import PROFILE_SCHEMA, ProfileRecord
from edgevision.benchmark.packed import PackedSamples
from edgevision.benchmark.paired.record import PAIRED_SCHEMA, PairedRecord
from edgevision.benchmark.records import SCHEMA, BenchRecord, StageRecord
from edgevision.benchmark.scenarios.record import SCENARIO_SCHEMA, ScenarioRecord
from edgevision.benchmark.soak.record import SOAK_SCHEMA, SoakRecord
from edgevision.errors import SinkError, UsageError
from edgevision.storage import atomic
from edgevision.storage.codec import DecodeError, dataclass_from_json, json_from_dataclass, newer_schema

Record = BenchRecord | PairedRecord | ScenarioRecord | SoakRecord | ProfileRecord
_KINDS: dict[str, tuple[type[Record], int]] = {
    "profile": (ProfileRecord, PROFILE_SCHEMA),
    "scenario": (ScenarioRecord, SCENARIO_SCHEMA),
    "bench": (BenchRecord, SCHEMA),
    "pairs": (PairedRecord, PAIRED_SCHEMA),
    "soak": (SoakRecord, SOAK_SCHEMA),
}
MADE_BY = "expected the file of `edgevision bench BUNDLE --record FILE`"


def write_record(path: Path, record: Record) -> None:
    """Write JSON atomically; raises `SinkError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, (json.dumps(json_from_dataclass(record), indent=1) + "\n").encode())
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from error


def read_record(path: Path) -> BenchRecord:
    """Read a record of one build; raises `UsageError`."""
    record = read_any_record(path)
    if not isinstance(record, BenchRecord):
        raise UsageError(
            f"{path} has kind {record.kind}; expected a record of `edgevision bench BUNDLE --record`"
        )
    return record


def read_any_record(path: Path) -> Record:
    """Read the output of `write_record`, of this version or an earlier one; raises `UsageError`."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read benchmark record {path}: {error}; {MADE_BY}") from error
    kind = data.get("kind", "bench") if isinstance(data, dict) else "bench"
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UsageError(
            f"{path} is not a benchmark record: kind {kind!r} is not one of {', '.join(_KINDS)}; {MADE_BY}"
        )
    cls, schema = _KINDS[kind]
    newer = newer_schema(data, schema)
    if newer is not None:
        raise UsageError(f"{path} has {newer}")
    try:
        if kind == "bench" and isinstance(data, dict) and data.get("schema") == 1:
            data = _from_schema_1(data)
        record = dataclass_from_json(cls, data)
        _check_samples(record)
    except (DecodeError, ValueError) as error:
        raise UsageError(f"{path} is not a benchmark record: {error}; {MADE_BY}") from error
    return record


def _from_schema_1(data: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 listed the samples as whole microseconds, uncompressed."""
    now = {**data, "schema": SCHEMA}
    for name in ("inference_alone", "device_time"):
        if now.get(name) is not None:
            now[name] = _stage_from_schema_1(now[name])
    if isinstance(now.get("stages"), list):
        now["stages"] = [_stage_from_schema_1(stage) for stage in now["stages"]]
    return now


def _stage_from_schema_1(stage: Any) -> Any:
    if not isinstance(stage, dict) or not isinstance(stage.get("samples_us"), list):
        raise DecodeError("a stage has no list samples_us")
    samples_us = stage["samples_us"]
    if not all(type(value) is int and 0 <= value < 2**53 for value in samples_us):
        raise DecodeError("samples_us must be whole microseconds")
    packed = PackedSamples.of([value * 1000 for value in samples_us])
    rest = {name: value for name, value in stage.items() if name != "samples_us"}
    return {**rest, "samples": json_from_dataclass(packed)}


def _check_samples(record: Record) -> None:
    """Raise `ValueError` for damaged samples, so that later steps need not."""
    if isinstance(record, ProfileRecord):
        counts = {len(samples.values_ns()) for samples in (record.calls, *(x.samples for x in record.layers))}
        if len(counts) > 1:
            raise ValueError(f"layers and calls have different numbers of samples: {sorted(counts)}")
    if not isinstance(record, PairedRecord):
        for stage in _stages(record):
            if len(stage.samples.values_ns()) != stage.count:
                raise ValueError(
                    f"stage {stage.name}: {stage.samples.count} samples, but count {stage.count}"
                )
        if isinstance(record, SoakRecord) and not record.windows:
            raise ValueError("a soak has at least one window")
        return
    if not record.pairs:
        raise ValueError("a comparison has at least one pair")
    for pair in record.pairs:
        if min(*pair.base.values_ns(), *pair.new.values_ns(), 1) < 1:
            raise ValueError("a time is not positive")


def _stages(record: BenchRecord | ScenarioRecord | SoakRecord | ProfileRecord) -> tuple[StageRecord, ...]:
    if isinstance(record, ScenarioRecord):
        return (record.latency,)
    if isinstance(record, ProfileRecord):
        return (record.inference_alone,)
    if isinstance(record, SoakRecord):
        return (record.inference,)
    found = (*record.stages, record.inference_alone, record.device_time)
    return tuple(stage for stage in found if stage is not None)
