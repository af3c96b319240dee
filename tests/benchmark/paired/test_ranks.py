"""Rank tests, compared with full enumeration, and false alarms under noise that lasts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest

from edgevision.benchmark.paired.ranks import LEVEL, paired_change, separate_change, signed_rank_p, spread

BASE = (20.0, 21.5, 19.0, 20.4, 23.0, 20.1, 19.7, 22.2, 20.9)
FACTORS = (1.11, 1.06, 1.02, 0.99, 1.095, 1.07, 1.13, 1.085, 1.05)


def enumerated_p(differences: npt.NDArray[np.float64]) -> float:
    """Two-sided probability of the signed-rank sum over all signs."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    total = int(ranks.sum())
    seen = int(ranks[differences > 0].sum())
    extreme = max(seen, total - seen)
    sums = [sum(chosen) for chosen in itertools.product(*[(0, int(rank)) for rank in ranks])]
    return min(1.0, 2 * sum(value >= extreme for value in sums) / len(sums))


def test_pairs_agree_with_full_enumeration() -> None:
    new = [value * factor for value, factor in zip(BASE, FACTORS, strict=True)]
    differences = np.log(FACTORS)
    change = paired_change(BASE, new)
    assert change.p == pytest.approx(enumerated_p(differences))
    averages = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(differences, 2)]
    assert change.estimate == pytest.approx(math.expm1(float(np.median(averages))))
    for shift, inside in ((change.low, True), (change.high, True), (change.low, False), (change.high, False)):
        outwards = (-1e-9 if shift == change.low else 1e-9) * (1 if not inside else -1)
        rejected = enumerated_p(differences - math.log1p(shift) - outwards) <= LEVEL
        assert rejected is not inside


def test_a_constant_factor_is_found_exactly() -> None:
    change = paired_change(BASE, [value * 1.08 for value in BASE])
    assert change.estimate == pytest.approx(0.08)
    assert change.p <= LEVEL
    assert [change.low, change.high] == pytest.approx([0.08, 0.08])


def test_equal_values_are_no_change() -> None:
    change = paired_change(BASE, BASE)
    assert (change.estimate, change.p) == (0.0, 1.0)


def test_too_few_pairs_have_no_interval() -> None:
    change = paired_change(
        BASE[:3], [value * factor for value, factor in zip(BASE, FACTORS, strict=True)][:3]
    )
    assert change.p == pytest.approx(2 / 8)
    assert (change.low, change.high) == (-1.0, math.inf)
    assert paired_change([1.0], [2.0]).high == math.inf


@pytest.mark.parametrize(("count", "p"), [(3, 2 / 20), (4, 2 / 70), (5, 2 / 252)])
def test_separate_runs(count: int, p: float) -> None:
    change = separate_change(BASE[:count], [value * 1.5 for value in BASE[:count]])
    assert change.p == pytest.approx(p)
    assert change.estimate == pytest.approx(0.5, abs=0.03)
    assert math.isfinite(change.high) is (p <= LEVEL)
    if p <= LEVEL:
        assert change.low < 0.5 < change.high


def test_a_change_and_its_reverse_agree() -> None:
    new = [value * factor for value, factor in zip(BASE, FACTORS, strict=True)]
    for test in (paired_change, separate_change):
        there, back = test(BASE, new), test(new, BASE)
        assert back.p == pytest.approx(there.p)
        assert (1 + back.estimate) * (1 + there.estimate) == pytest.approx(1)
        assert (1 + back.low) * (1 + there.high) == pytest.approx(1)


def test_spread_of_repeated_runs() -> None:
    assert spread([20.0]) is None
    assert spread([20.0, 22.0]) == pytest.approx(0.1)
    assert spread([20.0, 20.0, 22.0]) == pytest.approx(0.1)


def comparisons(shift: float, count: int) -> int:
    """How many of `count` comparisons find a change, under noise that lasts for many pairs.

    The load of the machine is a random walk back to its mean with jumps. Order effects are fixed, and the order is
    drawn at random, as `run_pairs` draws it.
    """
    coin = np.random.default_rng(7)
    found = 0
    for _ in range(count):
        load, base, new = 0.0, [], []
        for _ in range(12):
            times = []
            for place in range(2):
                load = 0.9 * load + 0.03 * coin.standard_normal() + 0.15 * (coin.random() < 0.05)
                times.append(load + 0.02 * place + 0.01 * coin.standard_t(2))
            order = (0, 1) if coin.random() < 0.5 else (1, 0)
            base.append(math.exp(times[order[0]]))
            new.append(math.exp(times[order[1]] + shift))
        found += signed_rank_p(np.log(new) - np.log(base)) <= LEVEL
    return found


def test_noise_that_lasts_causes_no_more_false_alarms_than_the_level() -> None:
    assert comparisons(0.0, 300) <= 8, "3 are expected; more than 8 have a probability of 0.4 %"
    assert comparisons(0.08, 100) >= 60
