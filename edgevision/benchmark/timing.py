"""The measuring loop and statistics of its samples, independent of models."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

DRIFT_LIMIT = 0.1
"""A result is unstable if the medians of the first and the last third differ by more than this share."""


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """Duration of a measurement: until both the time and the count are reached."""

    min_s: float = 3.0
    min_count: int = 30
    warmup_s: float = 0.5
    warmup_count: int = 3
    """Warm-up also lasts until both are reached; its samples are discarded."""

    def __post_init__(self) -> None:
        if self.min_count < 1 or self.warmup_count < 0 or self.min_s < 0 or self.warmup_s < 0:
            raise ValueError(f"{self} must have min_count >= 1 and no negative value")


@dataclass(frozen=True, slots=True)
class Samples:
    """Durations in order of measurement. All are kept: no outlier is removed."""

    values_ns: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.values_ns:
            raise ValueError("there must be at least one sample")

    def __len__(self) -> int:
        return len(self.values_ns)

    @classmethod
    def between(cls, stamps_ns: Sequence[int]) -> Samples:
        """The intervals between time stamps: one fewer than there are stamps."""
        return cls(tuple(after - before for before, after in itertools.pairwise(stamps_ns)))

    @property
    def mean_ms(self) -> float:
        """The arithmetic mean."""
        return sum(self.values_ns) / len(self.values_ns) / 1e6

    @property
    def total_s(self) -> float:
        """All together."""
        return sum(self.values_ns) / 1e9

    def percentile_ms(self, percent: float) -> float:
        """The smallest sample that at least `percent` % of all do not exceed; always a measured value."""
        return float(np.percentile(self.values_ns, percent, method="inverted_cdf")) / 1e6


def measure(
    work: Callable[[], object],
    settings: MeasureSettings | None = None,
    *,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> Samples:
    """Call `work` repeatedly and keep the time of every call after the warm-up."""
    settings = settings or MeasureSettings()
    _timed_calls(work, settings.warmup_s, settings.warmup_count, clock_ns)
    return Samples(tuple(_timed_calls(work, settings.min_s, settings.min_count, clock_ns)))


def drift(values: Sequence[float]) -> float:
    """Relative difference between the medians of the last and the first third; 0 for fewer than three values."""
    first, last = outer_medians(values)
    return (last - first) / first if first else 0.0


def outer_medians(values: Sequence[float]) -> tuple[float, float]:
    """Medians of the first and the last third; both 0 for fewer than three values."""
    third = len(values) // 3
    if third == 0:
        return 0.0, 0.0
    return float(np.median(values[:third])), float(np.median(values[-third:]))


def _timed_calls(
    work: Callable[[], object], min_s: float, min_count: int, clock_ns: Callable[[], int]
) -> list[int]:
    values: list[int] = []
    began_ns = clock_ns()
    while len(values) < min_count or clock_ns() - began_ns < min_s * 1e9:
        before_ns = clock_ns()
        work()
        values.append(clock_ns() - before_ns)
    return values
