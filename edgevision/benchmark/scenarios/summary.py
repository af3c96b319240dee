"""Reads LoadGen's summary, and the time of every query from its trace."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path

from edgevision.benchmark.records import StageRecord
from edgevision.benchmark.timing import Samples
from edgevision.device.facts import Fact
from edgevision.errors import EngineError

SUMMARY = "mlperf_log_summary.txt"
TRACE = "mlperf_log_trace.json"
LOGS = (SUMMARY, "mlperf_log_detail.txt")
MOST_DIFFERENCE = 0.01
"""Largest relative difference between the summary's percentiles and ours."""
_SAMPLE = re.compile(r'"name":"Sample".*"query_seq":(\d+),.*"complete_ns":(\d+)')
PERCENTILES = (50.0, 90.0, 99.0)


@dataclass(frozen=True, slots=True)
class LoadGenSummary:
    """The summary's lines "name : value", in order, without its list of settings."""

    facts: tuple[Fact, ...]

    def value(self, name: str) -> str | None:
        """The value of a line; None if it is absent."""
        return next((fact.value for fact in self.facts if fact.name == name), None)

    @property
    def valid(self) -> bool:
        """LoadGen's own judgement."""
        return self.value("Result is") == "VALID"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Conditions that LoadGen found violated."""
        return tuple(f"{fact.name}: {fact.value}" for fact in self.facts if fact.value.lower() == "no")

    def percentile_ms(self, percent: float) -> float | None:
        """A latency percentile; None if the summary lacks it."""
        value = self.value(f"{percent:.2f} percentile latency (ns)")
        return None if value is None else float(value) / 1e6


def read_summary(folder: Path) -> LoadGenSummary:
    """Read the summary of a finished test; raises `EngineError` if LoadGen wrote none."""
    try:
        text = (folder / SUMMARY).read_text(errors="replace")
    except OSError as error:
        raise EngineError(f"LoadGen wrote no {SUMMARY}: {error.strerror}") from error
    results = text.split("Test Parameters Used")[0]
    found = re.findall(r"^\s*\*?\s*([^:\n]+?)\s*:\s*(\S.*?)\s*$", results, re.MULTILINE)
    if not any(name == "Result is" for name, _ in found):
        raise EngineError(f"{folder / SUMMARY} states no result: LoadGen did not finish")
    return LoadGenSummary(tuple(Fact(name, value) for name, value in found))


def query_latencies(folder: Path, *, by_query: bool) -> Samples:
    """Times from the trace, in order of issue: of each query with its slowest sample, else of each sample.

    A time runs from the moment at which the query was due. Raises `EngineError` if the trace has none.
    """
    queries: dict[int, list[int]] = {}
    try:
        with (folder / TRACE).open(errors="replace") as lines:
            for line in lines:
                if (found := _SAMPLE.search(line)) is not None:
                    queries.setdefault(int(found[1]), []).append(int(found[2]))
    except OSError as error:
        raise EngineError(f"LoadGen wrote no {TRACE}: {error.strerror}") from error
    if not queries:
        raise EngineError(f"{folder / TRACE} has no finished query")
    in_order = [queries[number] for number in sorted(queries)]
    return Samples(tuple(max(times) for times in in_order) if by_query else tuple(itertools.chain(*in_order)))


def latency_stage(name: str, samples: Samples) -> StageRecord:
    """The samples with percentiles of LoadGen's definition.

    It takes the value with index ``floor(n * p)`` in ascending order, which is up to one rank above the nearest rank.
    """
    ordered = sorted(samples.values_ns)
    stage = StageRecord.of(name, samples)
    p50_ms, p90_ms, p99_ms = (
        round(ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] / 1e6, 4)
        for percent in PERCENTILES
    )
    return replace(stage, p50_ms=p50_ms, p90_ms=p90_ms, p99_ms=p99_ms)


def disagreements(summary: LoadGenSummary, stage: StageRecord) -> tuple[str, ...]:
    """Percentiles of a record that differ from the summary's by more than `MOST_DIFFERENCE`."""
    found = []
    for percent, ours_ms in zip(PERCENTILES, (stage.p50_ms, stage.p90_ms, stage.p99_ms), strict=True):
        theirs_ms = summary.percentile_ms(percent)
        if theirs_ms is not None and abs(ours_ms - theirs_ms) > MOST_DIFFERENCE * theirs_ms:
            found.append(f"p{percent:g} is {ours_ms:.3f} ms here and {theirs_ms:.3f} ms in LoadGen's summary")
    return tuple(found)
