"""Settings of scenarios."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from edgevision.errors import UsageError
from edgevision.settings.kinds import Number
from edgevision.settings.setting import setting

Scenario = Literal["single-stream", "multi-stream", "offline", "server", "camera"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

USED_BY: dict[str, tuple[Scenario, ...]] = {
    "min_queries": ("single-stream", "multi-stream", "offline", "server"),
    "max_queries": ("single-stream", "multi-stream", "offline", "server"),
    "samples_per_query": ("multi-stream",),
    "target_rate": ("server",),
    "target_latency_ms": ("server",),
}
"""Scenarios that use a setting; all use the others."""


@dataclass(frozen=True, slots=True)
class ScenarioOptions:
    """Settings of a scenario. None: derived from the speed of the first calls."""

    min_duration_s: float = field(
        default=60.0,
        metadata=setting(
            Number(0, least_open=True),
            "Minimum time of a scenario in seconds. MLPerf's official runs take 600 s.",
            option="--min-duration",
            metavar="S",
        ),
    )
    min_queries: int = field(
        default=100,
        metadata=setting(
            Number(1, whole=True), "Minimum number of queries of LoadGen's scenarios.", option="--min-queries"
        ),
    )
    max_queries: int | None = field(
        default=None,
        metadata=setting(
            Number(1, whole=True),
            "End a LoadGen scenario after this number of queries; below a minimum the run is INVALID.",
            option="--max-queries",
        ),
    )
    samples_per_query: int = field(
        default=8,
        metadata=setting(
            Number(1, 1024, whole=True), "Frames per query in multi-stream.", option="--samples-per-query"
        ),
    )
    target_rate: float | None = field(
        default=None,
        metadata=setting(
            Number(0, least_open=True),
            "Average frames/s in server, at random times; default: half the rate of single calls.",
            option="--target-rate",
            metavar="PER_S",
        ),
    )
    target_latency_ms: float = field(
        default=100.0,
        metadata=setting(
            Number(0, least_open=True),
            "Latency limit in server; 99 % of the frames must meet it.",
            option="--target-latency-ms",
            metavar="MS",
        ),
    )

    def check(self, scenario: Scenario) -> None:
        """Raise `UsageError` for a setting that the scenario does not use."""
        for entry in fields(self):
            users = USED_BY.get(entry.name, SCENARIOS)
            if scenario not in users and getattr(self, entry.name) != entry.default:
                raise UsageError(
                    f"--scenario {scenario} does not use {entry.metadata['option']}; omit it, or use --scenario"
                    f" {' or '.join(users)}"
                )
