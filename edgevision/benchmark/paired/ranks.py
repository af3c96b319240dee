"""Rank tests of two sets of runs: significance, estimate and interval of a relative change.

All tests work on logarithms of times, so a change is a ratio: 0.08 is 8 % slower. The Wilcoxon signed-rank test
compares pairs, the Mann-Whitney test separate runs. The estimate is that of Hodges and Lehmann (Annals of Mathematical
Statistics 34, 1963): the median of all averages of two differences, or of all differences between the two sets. The
interval contains every change that the same test does not reject.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEVEL = 0.01
"""Largest probability of a false alarm. Both tests are two-sided."""
MOST_EXACT = 50
"""Most pairs whose probability is computed exactly."""

Logs = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TimeChange:
    """A relative change of time, NEW over BASE minus 1: positive is slower."""

    estimate: float
    low: float
    """Lower end of the interval at `LEVEL`; -1 if there are too few values for one."""
    high: float
    """Upper end; infinity if there are too few values."""
    p: float
    """Probability that equally fast builds differ at least as much."""


def paired_change(base: Sequence[float], new: Sequence[float], *, looks: int = 1) -> TimeChange:
    """TimeChange of pairs: value n of both was measured at the same time. Any positive unit, at least one pair.

    If the measurement could have ended at any of several `looks`, p is corrected for them (Bonferroni), and the
    interval holds for all of them.
    """
    differences = np.log(np.asarray(new, np.float64)) - np.log(np.asarray(base, np.float64))
    rows, columns = np.triu_indices(len(differences))
    averages = (differences[rows] + differences[columns]) / 2
    return _change(averages, lambda shift: min(1.0, looks * signed_rank_p(differences - shift)))


def separate_change(base: Sequence[float], new: Sequence[float]) -> TimeChange:
    """TimeChange between two sets of separate runs. Any positive unit, at least one value each."""
    before, after = np.log(np.asarray(base, np.float64)), np.log(np.asarray(new, np.float64))
    between = (after[:, None] - before[None, :]).ravel()
    return _change(between, lambda shift: _rank_sum(after - shift, before))


def signed_rank_p(differences: Logs) -> float:
    """Two-sided probability of the Wilcoxon signed-rank test; 1 if all differences are 0.

    Exact without ties. With ties, the normal approximation replaces SciPy's permutations, which take seconds.
    """
    if not np.any(differences):
        return 1.0
    from scipy import stats  # optional, and slow to import

    sizes = np.abs(differences)
    exact = len(differences) <= MOST_EXACT and len(np.unique(sizes[sizes > 0])) == len(differences)
    return float(stats.wilcoxon(differences, method="exact" if exact else "asymptotic").pvalue)


def spread(runs: Sequence[float]) -> float | None:
    """Median relative difference of two runs of one build, as a noise floor; None for a single run."""
    logs = np.log(np.asarray(runs, np.float64))
    rows, columns = np.triu_indices(len(logs), 1)
    if len(rows) == 0:
        return None
    return math.expm1(float(np.median(np.abs(logs[rows] - logs[columns]))))


def _change(differences: Logs, p_at: Callable[[float], float]) -> TimeChange:
    low, high = _interval(np.sort(differences), p_at)
    return TimeChange(math.expm1(float(np.median(differences))), math.expm1(low), math.expm1(high), p_at(0.0))


def _interval(points: Logs, p_at: Callable[[float], float]) -> tuple[float, float]:
    """Ends of the range of shifts with a probability above `LEVEL`.

    The probability is constant between two neighbouring `points` and rises up to the estimate.
    """
    if len(points) == 1 or points[0] == points[-1]:
        return (-math.inf, math.inf) if p_at(points[0] - 1.0) > LEVEL else (float(points[0]),) * 2
    middle = float(np.median(points))
    below = points[points <= middle]
    above = points[points >= middle][::-1]
    return _end(below, p_at, -math.inf), _end(above, p_at, math.inf)


def _end(points: Logs, p_at: Callable[[float], float], unbounded: float) -> float:
    """The last of `points`, from the outside to the middle, whose outer side is rejected."""
    outside = points[0] + math.copysign(1.0, unbounded)
    if p_at(float(outside)) > LEVEL:
        return unbounded
    first, last = 0, len(points) - 1
    while first < last:  # the inner side of `last` is accepted
        probe = (first + last) // 2
        if p_at(float((points[probe] + points[probe + 1]) / 2)) > LEVEL:
            last = probe
        else:
            first = probe + 1
    return float(points[first])


def _rank_sum(after: Logs, before: Logs) -> float:
    from scipy import stats  # optional, and slow to import

    return float(stats.mannwhitneyu(after, before).pvalue)
