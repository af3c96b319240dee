"""Stored runs: one build in a folder, the same frames in both, and what differs besides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.benchmark.paired.stored import (
    StoredRun,
    check_same_work,
    conditions,
    stage_rows,
    stored_runs,
)
from edgevision.benchmark.record_files import write_record
from edgevision.benchmark.records import BenchRecord
from edgevision.errors import UsageError
from tests.benchmark.examples import DEVICE, RECORD, timed


def folder(path: Path, *records: BenchRecord) -> Path:
    for number, record in enumerate(records):
        write_record(path / f"{number}.json", record)
    return path


def test_a_file_and_a_folder(tmp_path: Path) -> None:
    records = [timed(f"2026-01-0{day}T00:00:00+00:00", 20.0 + day) for day in (1, 2, 3)]
    runs = stored_runs(folder(tmp_path / "base", *records))
    assert [run.median_ms for run in runs.runs()] == [21.0, 22.0, 23.0]
    assert runs.median_ms == 22.0
    assert runs.build == "yolov5n 0123456789ab in onnxruntime 1.2, batch 1"
    assert stored_runs(tmp_path / "base" / "0.json").runs() == (StoredRun("2026-01-01T00:00:00+00:00", 21.0),)


def test_time_is_per_frame(tmp_path: Path) -> None:
    batched = replace(timed("2026", 40.0), settings=replace(RECORD.settings, batch=4))
    assert stored_runs(folder(tmp_path / "b", batched)).median_ms == 10.0


def test_a_folder_holds_one_build(tmp_path: Path) -> None:
    other = replace(RECORD, graph_sha256="f" * 64)
    with pytest.raises(UsageError, match=r"runs of several builds: 0.json: .* 0123.*; 1.json: .* ffff"):
        stored_runs(folder(tmp_path / "mixed", RECORD, other))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"has no .json file; expected records"):
        stored_runs(tmp_path / "empty")
    (tmp_path / "empty" / "x.json").write_text("{}")
    with pytest.raises(UsageError, match="is not a benchmark record"):
        stored_runs(tmp_path / "empty")


def test_other_frames_cannot_be_compared(tmp_path: Path) -> None:
    base = stored_runs(folder(tmp_path / "a", RECORD))
    same = stored_runs(folder(tmp_path / "b", timed("2026", 9.0)))
    check_same_work(base, same)
    other = replace(RECORD, settings=replace(RECORD.settings, source="other.mp4"))
    with pytest.raises(
        UsageError, match=r"the runs differ in source: other.mp4, v.mp4; measure both on the same"
    ):
        check_same_work(base, stored_runs(folder(tmp_path / "c", other)))


def test_differences_of_the_machine_are_named(tmp_path: Path) -> None:
    base = stored_runs(folder(tmp_path / "a", RECORD))
    elsewhere = replace(
        RECORD,
        device=replace(DEVICE, power_mode=None, cores_usable=4.0),
        settings=replace(RECORD.settings, threads=2),
        unstable=("it moved",),
    )
    new = stored_runs(folder(tmp_path / "b", elsewhere))
    assert conditions(base, base) == []
    assert conditions(base, new) == [
        "the machines differ in cores_usable: 6.0 / 4.0",
        "the machines differ in power_mode: MAXN (0) / unknown",
        "the runs differ in threads: unknown / 2",
        f"{tmp_path / 'b'}: 1 of 1 runs UNSTABLE",
    ]


def test_stages_of_both(tmp_path: Path) -> None:
    slower = replace(RECORD, stages=(replace(RECORD.stages[0], p50_ms=60.0),))
    rows = stage_rows(
        stored_runs(folder(tmp_path / "a", RECORD)), stored_runs(folder(tmp_path / "b", slower))
    )
    assert rows == [["inference", "50.00 ms", "60.00 ms", "+20.0 %"]]
