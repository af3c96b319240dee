"""LoadGen's logs: a recorded summary, and times from a trace."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgevision.benchmark.scenarios.summary import (
    SUMMARY,
    TRACE,
    disagreements,
    latency_stage,
    query_latencies,
    read_summary,
)
from edgevision.benchmark.timing import Samples
from edgevision.errors import EngineError

RECORDED = Path(__file__).with_name("loadgen")
"""Summary of LoadGen 6.0.17: multi-stream, 100 queries on a busy machine."""
EVENT = '{"name":"Sample","cat":"default","ph":"b","pid":5,"id":%d,"ts":1.5,"args":{"sample_seq":%d,"query_seq":%d,'
EVENT += '"sample_idx":6,"issue_start_ns":%d,"complete_ns":%d}},\n'


def write_trace(folder: Path) -> None:
    events = [(0, 0, 0, 10), (1, 0, 0, 30), (3, 2, 5, 40), (2, 1, 5, 20), (4, 2, 5, 35)]
    lines = [EVENT % (number, number, *event) for number, *event in events]
    ends = ['{"name":"Sample","cat":"default","ph":"e", "pid":5,"id":0,"ts":3.5},\n']
    (folder / TRACE).write_text("".join(['{"traceEvents":[\n', *lines, *ends]))


def test_a_recorded_summary() -> None:
    summary = read_summary(RECORDED)
    assert not summary.valid
    assert summary.reasons == ("Early stopping satisfied: NO",)
    assert summary.value("Scenario") == "MultiStream"
    assert summary.value("Min duration satisfied") == "Yes"
    assert summary.percentile_ms(50) == 80.267052
    assert summary.percentile_ms(99) == 250.559198
    assert summary.percentile_ms(12.5) is None
    assert summary.value("samples_per_query") is None, "the settings are not results"


def test_a_test_that_did_not_finish(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=f"wrote no {SUMMARY}"):
        read_summary(tmp_path)
    (tmp_path / SUMMARY).write_text("SUT name : PySUT\n")
    with pytest.raises(EngineError, match="states no result"):
        read_summary(tmp_path)


def test_times_of_queries_and_of_samples(tmp_path: Path) -> None:
    write_trace(tmp_path)
    assert query_latencies(tmp_path, by_query=True).values_ns == (30, 20, 40)
    assert query_latencies(tmp_path, by_query=False).values_ns == (10, 30, 20, 40, 35)
    (tmp_path / TRACE).write_text('{"traceEvents":[\n')
    with pytest.raises(EngineError, match="has no finished query"):
        query_latencies(tmp_path, by_query=True)
    (tmp_path / TRACE).unlink()
    with pytest.raises(EngineError, match=f"wrote no {TRACE}"):
        query_latencies(tmp_path, by_query=True)


def test_percentiles_are_of_loadgens_rank() -> None:
    stage = latency_stage("query", Samples(tuple(n * 1_000_000 for n in range(100))))
    assert (stage.p50_ms, stage.p90_ms, stage.p99_ms) == (50, 90, 99)
    assert latency_stage("query", Samples((7_000_000,))).p99_ms == 7


def test_a_difference_of_more_than_one_percent_is_reported(tmp_path: Path) -> None:
    shutil.copy(RECORDED / SUMMARY, tmp_path)
    summary = read_summary(tmp_path)
    near = latency_stage("query", Samples((80_900_000,)))
    assert disagreements(summary, near) == (
        "p90 is 80.900 ms here and 150.122 ms in LoadGen's summary",
        "p99 is 80.900 ms here and 250.559 ms in LoadGen's summary",
    )
