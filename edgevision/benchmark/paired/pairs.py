"""Interleaved comparison of two builds: each pair starts both in new processes and times them in turns.

A pair is the unit of the test, not a call: neighbouring calls meet the same disturbance, so they are not independent.
The order inside a pair is drawn at random. Two equal builds then win a pair with equal chances, whatever the machine
does meanwhile, and disturbances that last for many pairs cannot cause false alarms (randomization test; Fisher, The
Design of Experiments, 1935, chapter III).

Pairs are measured in groups. After each group the caller looks at all pairs and may stop. Every look is a chance of a
false alarm, so the test corrects its probability for the number of looks (Bonferroni).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgevision.benchmark.builds import Contender
from edgevision.benchmark.packed import PackedSamples
from edgevision.benchmark.paired.contenders import ContenderProcess
from edgevision.benchmark.timing import MeasureSettings, Samples

PAIRS = 12
"""With 12 pairs a probability of 0.01 is reached if 2 of them disagree slightly."""
GROUPS = 3
"""Maximum number of groups of pairs, if the caller requests no other."""
TURNS = 8
"""Turns of each build in a pair."""
DISTURBED = 3.0
"""A call that takes so many times the 10th percentile was interrupted by other programs."""
TURN_WARMUP = 1
"""Calls before each turn that are not kept: the other process has emptied the caches."""


@dataclass(frozen=True, slots=True)
class PairOptions:
    """Settings of an interleaved comparison."""

    pairs: int = PAIRS
    """Of one group."""
    seconds: float = 9.0
    """Minimum time of each build, all pairs of a group together."""
    turns: int = TURNS
    seed: int = 0
    """Of the order inside the pairs."""
    groups: int = 1
    """Maximum number of groups."""

    def __post_init__(self) -> None:
        if min(self.pairs, self.turns, self.groups) < 1 or self.seconds <= 0:
            raise ValueError(f"{self} must have pairs >= 1, turns >= 1, groups >= 1 and seconds > 0")


@dataclass(frozen=True, slots=True)
class TimedPair:
    """Calls of both builds in one pair."""

    base_first: bool
    base: PackedSamples
    new: PackedSamples

    def medians_ms(self) -> tuple[float, float]:
        """Medians of the undisturbed calls of base and new; raises `ValueError` for damaged samples."""
        base, new = (undisturbed_median_ms(Samples(side.values_ns())) for side in (self.base, self.new))
        return base, new


def run_pairs(
    base: Contender,
    new: Contender,
    options: PairOptions,
    each: Callable[[int, TimedPair], None] = lambda _number, _pair: None,
    decided: Callable[[Sequence[TimedPair]], bool] = lambda _pairs: False,
) -> tuple[TimedPair, ...]:
    """Run the groups until `decided` is true of all pairs so far. Raises `EngineError`.

    `each` receives every finished pair with its number from 1.
    """
    coin = random.Random(options.seed)
    part = MeasureSettings(options.seconds / options.pairs / options.turns, 1, 0.0, TURN_WARMUP)
    pairs: list[TimedPair] = []
    for number in range(1, options.pairs * options.groups + 1):
        base_first = coin.random() < 0.5
        first, second = _one_pair(*((base, new) if base_first else (new, base)), part, options.turns)
        before, after = (first, second) if base_first else (second, first)
        pair = TimedPair(base_first, PackedSamples.of(before), PackedSamples.of(after))
        pairs.append(pair)
        each(number, pair)
        if number % options.pairs == 0 and number < options.pairs * options.groups and decided(pairs):
            break
    return tuple(pairs)


def undisturbed_median_ms(samples: Samples) -> float:
    """Median of the calls that take less than `DISTURBED` times the 10th percentile.

    On a busy machine, a call that is interrupted takes ten times as long. If about half of the calls are, the median of
    all calls jumps between both kinds. On a quiet machine nothing is left out.
    """
    limit_ns = DISTURBED * samples.percentile_ms(10) * 1e6
    kept = tuple(value for value in samples.values_ns if value <= limit_ns)
    return Samples(kept).percentile_ms(50)


def rounded_percent(change: float) -> str:
    """A change as text: "8.1 % slower", "3.0 % faster"; time per call, more or less."""
    if not math.isfinite(change):
        return "any amount slower"
    if change <= -1:
        return "any amount faster"
    return f"{abs(change) * 100:.1f} % {'slower' if change >= 0 else 'faster'}"


def _one_pair(
    first: Contender, second: Contender, part: MeasureSettings, turns: int
) -> tuple[list[int], list[int]]:
    """Times of both, in the order 1 2 2 1 1 2 2 1: a steady drift affects both equally."""
    values: tuple[list[int], list[int]] = ([], [])
    with ContenderProcess(first) as one, ContenderProcess(second) as two:
        one.ready()
        two.ready()
        sides = list(zip((one, two), values, strict=True))
        for turn in range(turns):
            for process, own in sides if turn % 2 == 0 else reversed(sides):
                own += process.measure(part).values_ns
    return values
