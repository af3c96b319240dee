"""Judges whether a build is slower than another, from pairs or from stored runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgevision.benchmark.paired.pairs import rounded_percent
from edgevision.benchmark.paired.ranks import LEVEL, TimeChange, paired_change, separate_change, spread
from edgevision.benchmark.paired.record import PairedRecord
from edgevision.benchmark.paired.stored import StoredRun

LEAST_CHANGE = 0.01
"""Smaller changes are not reported as sure: placement of code and memory alone can cause them."""
RESOLUTION = 0.05
"""Further pairs are measured while larger changes are possible."""

Certainty = Literal["sure", "likely", "not sure"]
"""likely: significant, but base and new were measured at different times, so the machine may have changed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A change, how certain it is, and the reason in one sentence."""

    change: TimeChange
    certainty: Certainty
    floor: float
    """A change must be larger than this to be sure or likely."""
    unit: str
    """What the test counted: "12 pairs", "5 and 6 runs"."""
    doubt: str = ""
    """What prevents a more certain verdict."""

    @property
    def slower(self) -> bool:
        """True if new is slower, surely or likely."""
        return self.certainty != "not sure" and self.change.estimate > 0

    @property
    def sentence(self) -> str:
        """For people: "8.1 % slower, sure; p = 0.0005, 12 pairs; between 5.9 % slower and 10.2 % slower"."""
        change = self.change
        text = f"{rounded_percent(change.estimate)}, {self.certainty}; p = {_short(change.p)}, {self.unit}"
        if math.isfinite(change.high) and change.low > -1:
            text += f"; between {rounded_percent(change.low)} and {rounded_percent(change.high)}"
        return f"{text}; {self.doubt}" if self.doubt else text

    def exceeds(self, limit: float) -> bool:
        """True if new is slower by more than `limit`, surely or likely."""
        return self.slower and self.change.estimate > limit

    def decided(self, limit: float | None) -> bool:
        """True if more pairs are not needed.

        With a limit: new exceeds it, or a slow-down above it is excluded. Without: the change is sure, or changes above
        `RESOLUTION` are excluded.
        """
        if limit is not None:
            return self.exceeds(limit) or not self.cannot_exclude(limit)
        change = self.change
        return self.certainty == "sure" or max(-change.low, change.high) <= RESOLUTION

    def cannot_exclude(self, limit: float) -> bool:
        """True if the measurement is too noisy to exclude a slow-down above `limit`."""
        return not self.exceeds(limit) and self.change.high > limit


def judge_pairs(
    base_ms: Sequence[float], new_ms: Sequence[float], *, floor: float | None = None, looks: int = 1
) -> Verdict:
    """Verdict on pairs: value n of both was measured in turns. At least one pair.

    `looks` is the number of times at which the measurement could have ended.
    """
    change = paired_change(base_ms, new_ms, looks=looks)
    least = LEAST_CHANGE if floor is None else floor
    doubt = ""
    if change.p > LEVEL and not math.isfinite(change.high):
        needed = math.ceil(1 + math.log2(looks / LEVEL))  # the smallest p of N pairs is 2 / 2**N
        doubt = f"so few pairs cannot give p below {LEVEL:g}: measure at least {needed}"
    return _verdict(change, least, _count(len(base_ms), "pair"), "sure", doubt)


def record_verdict(record: PairedRecord, floor: float | None = None) -> Verdict:
    """Verdict on a record; raises `ValueError` for damaged samples."""
    return judge_pairs(*record.frame_medians_ms(), floor=floor, looks=record.settings.groups)


def judge_runs(base: Sequence[StoredRun], new: Sequence[StoredRun], *, floor: float | None = None) -> Verdict:
    """Verdict on stored runs, one or more of each build.

    Runs that alternate in time are pairs. For others, `floor` replaces the noise floor, which otherwise is the median
    difference of two runs of one build.
    """
    before, after = sorted(base, key=lambda run: run.created), sorted(new, key=lambda run: run.created)
    base_ms, new_ms = [run.median_ms for run in before], [run.median_ms for run in after]
    if len(base) > 1 and _alternate(before, after):
        return judge_pairs(base_ms, new_ms, floor=floor)
    change = separate_change(base_ms, new_ms)
    unit = f"{len(base)} and {_count(len(new), 'run')}"
    known = [found for found in (spread(base_ms), spread(new_ms)) if found is not None]
    if floor is None and not known:
        doubt = "one run of each shows no noise floor: repeat them, or use `edgevision bench --against`"
        return Verdict(change, "not sure", LEAST_CHANGE, unit, doubt)
    least = max(LEAST_CHANGE, *known) if floor is None else floor
    if floor is not None and not known:  # two runs, and noise known from elsewhere
        certain: Certainty = "likely" if abs(change.estimate) > least else "not sure"
        return Verdict(change, certain, least, unit, f"noise floor {least * 100:.1f} % as given")
    doubt = ""
    if change.p > LEVEL and not math.isfinite(change.high):
        doubt = f"so few runs cannot give p below {LEVEL:g}: store at least 5 of each"
    return _verdict(change, least, unit, "likely", doubt)


def _verdict(change: TimeChange, floor: float, unit: str, best: Certainty, doubt: str) -> Verdict:
    if change.p > LEVEL:
        return Verdict(change, "not sure", floor, unit, doubt)
    if abs(change.estimate) <= floor:
        return Verdict(change, "not sure", floor, unit, f"within the noise floor of {floor * 100:.1f} %")
    doubt = "the runs do not alternate in time: the machine may have changed" if best == "likely" else ""
    return Verdict(change, best, floor, unit, doubt)


def _alternate(base: Sequence[StoredRun], new: Sequence[StoredRun]) -> bool:
    """True if the runs, each in order of time, form pairs of neighbours in time."""
    if len(base) != len(new):
        return False
    pairs = [sorted((a.created, b.created)) for a, b in zip(base, new, strict=True)]
    return all(earlier[1] < later[0] for earlier, later in itertools.pairwise(pairs))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _short(p: float) -> str:
    return f"{p:.2f}" if p >= 0.1 else f"{p:.1g}"
