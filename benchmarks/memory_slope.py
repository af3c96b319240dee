"""Memory of a process over time, and its slope."""

from __future__ import annotations

import re
import sys
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROLLUP = Path("/proc/self/smaps_rollup")
BUCKET_S = 30.0
"""Samples of one bucket are reduced to one value, because neighbours are not independent."""
Level = Callable[[npt.NDArray[np.float64]], np.floating[Any]]
"""Reduces the samples of a bucket."""
Z_90 = 1.645


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory of a process at one moment."""

    at_s: float
    anonymous_kib: int
    """Anonymous resident memory (RssAnon)."""
    pss_kib: int
    """Proportional set size (PSS): shared pages count by their share."""
    blocks: int
    """Allocated blocks of the Python allocator."""
    threads: int


@dataclass(frozen=True, slots=True)
class Slope:
    """Robust slope of values over time, with its 90 % interval."""

    per_hour: float
    low: float
    high: float
    count: int
    """Number of values."""

    def __str__(self) -> str:
        return (
            f"{self.per_hour:+.3f} an hour (90 %: {self.low:+.3f} to {self.high:+.3f}, {self.count} values)"
        )


FIELDS = 5


class Sampler:
    """Takes a sample every `every_s` seconds in its own thread, until it is stopped.

    Samples are stored as plain numbers, because objects would add to the measured growth.
    """

    def __init__(self, every_s: float, on_sample: Callable[[Sample], None] = lambda _: None) -> None:
        self._numbers = array("d")
        self._every_s = every_s
        self._on_sample = on_sample
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def samples(self) -> list[Sample]:
        """All samples, in order."""
        rows = np.array(self._numbers).reshape(-1, FIELDS)
        return [Sample(row[0], *(int(value) for value in row[1:])) for row in rows]

    def _work(self) -> None:
        began_s = time.monotonic()
        while True:
            taken = sample(time.monotonic() - began_s)
            self._numbers.extend(astuple(taken))
            self._on_sample(taken)
            next_s = len(self._numbers) // FIELDS * self._every_s
            if self._over.wait(max(0.0, began_s + next_s - time.monotonic())):
                return


def sample(at_s: float) -> Sample:
    """Sample this process now."""
    text = ROLLUP.read_text()

    def kib(name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found[1])

    return Sample(at_s, kib("Anonymous"), kib("Pss"), sys.getallocatedblocks(), threading.active_count())


def slope(
    at_s: Sequence[float],
    values: Sequence[float],
    bucket_s: float = BUCKET_S,
    level: Level = np.median,
) -> Slope:
    """Median of the slopes of all pairs (Theil 1950), with its interval from Kendall's tau (Sen 1968)."""
    times, levels = _thinned(np.asarray(at_s, float), np.asarray(values, float), bucket_s, level)
    count = len(times)
    if count < 3:
        raise ValueError(f"{count} values over time; a slope with an interval needs at least 3")
    first, second = np.triu_indices(count, 1)
    slopes = np.sort(3600 * (levels[second] - levels[first]) / (times[second] - times[first]))
    reach = Z_90 * np.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(int((len(slopes) - reach) // 2), 0)
    high = min(int((len(slopes) + reach) // 2), len(slopes) - 1)
    return Slope(float(np.median(slopes)), float(slopes[low]), float(slopes[high]), count)


def _thinned(
    at_s: npt.NDArray[np.float64], values: npt.NDArray[np.float64], bucket_s: float, level: Level
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Level of each bucket, at the middle of its times; at most a thousand buckets."""
    bucket_s = max(bucket_s, float(np.ptp(at_s)) / 1000) if len(at_s) else bucket_s
    number = ((at_s - at_s[:1]) // bucket_s).astype(int)
    buckets = np.unique(number)
    times = np.array([at_s[number == bucket].mean() for bucket in buckets])
    return times, np.array([level(values[number == bucket]) for bucket in buckets])
