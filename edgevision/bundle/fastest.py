"""Selects the fastest of several engines and graphs that were timed in turns.

`selection` chooses a graph inside one engine from records that travel with the bundle. This module chooses engine and
graph together, from timings of one machine that stay on it (`engines.choices`). The first engine in the usual order,
with the float graph, is the reference. Another one replaces it only if it is faster beyond noise.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgevision.bundle.selection import LEAST_GAIN
from edgevision.contract.spec import Precision

ROUNDS = 9
"""Rounds of a comparison. With 9, `NOISE` is kept if one round disagrees."""
LEAST_ROUNDS = 5
"""Fewest rounds that can show a difference: the sign test of five equal rounds gives 1/32."""
NOISE = 0.05
"""Largest probability that rounds of equally fast candidates look this different."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Calls of one graph in one engine; round n of all candidates ran one after the other."""

    engine: str
    library: str
    precision: Precision
    device: str
    """Such as "cpu" or "cuda:0"."""
    rounds_ms: tuple[float, ...]
    """The median call of each round."""
    median_ms: float
    """Of all calls."""
    p90_ms: float

    @property
    def name(self) -> str:
        """Engine and precision, as options spell them."""
        return f"{self.engine} {self.precision}"


@dataclass(frozen=True, slots=True)
class Excluded:
    """A graph in an engine that was not timed."""

    engine: str
    precision: Precision
    reason: str
    """In a few words, such as "failed verification"."""
    detail: str

    @property
    def name(self) -> str:
        """Engine and precision, as options spell them."""
        return f"{self.engine} {self.precision}"


def fastest(timings: Sequence[Timing]) -> Timing:
    """The candidate to use; `timings` is not empty, in the order of preference."""
    best = timings[0]
    for candidate in timings[1:]:
        if is_faster(candidate, best):
            best = candidate
    return best


def gain(candidate: Timing, reference: Timing) -> float:
    """How many times as fast: the median over the rounds of the ratio of their medians."""
    pairs = zip(reference.rounds_ms, candidate.rounds_ms, strict=True)
    return statistics.median(before / now for before, now in pairs)


def is_faster(candidate: Timing, reference: Timing) -> bool:
    """True if faster by `LEAST_GAIN` and beyond noise.

    Beyond noise: by a sign test over the rounds, two candidates of equal speed would give so many faster rounds with a
    probability of at most `NOISE`.
    """
    pairs = list(zip(reference.rounds_ms, candidate.rounds_ms, strict=True))
    wins = sum(now < before for before, now in pairs)
    chance = sum(math.comb(len(pairs), count) for count in range(wins, len(pairs) + 1)) / 2 ** len(pairs)
    return chance <= NOISE and gain(candidate, reference) >= LEAST_GAIN
