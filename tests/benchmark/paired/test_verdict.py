"""Verdicts: sure only for pairs, likely for separate runs, else not sure with the reason."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.benchmark.paired.stored import StoredRun
from edgevision.benchmark.paired.verdict import judge_pairs, judge_runs

TIMES = (20.0, 21.5, 19.0, 20.4, 23.0, 20.1, 19.7, 22.2, 20.9, 20.0, 19.4, 24.0)
WOBBLE = (1.01, 0.99, 1.02, 0.98, 1.005, 0.995, 1.015, 0.985, 1.001, 0.999, 1.012, 0.988)


def slowed(factor: float, count: int = 12) -> list[float]:
    return [time * wobble * factor for time, wobble in zip(TIMES, WOBBLE, strict=True)][:count]


def runs(times: list[float], hour: int, step_min: int = 1) -> list[StoredRun]:
    return [
        StoredRun(f"2026-01-01T{hour:02}:{n * step_min:02}:00+00:00", time) for n, time in enumerate(times)
    ]


def test_a_slow_down_in_pairs_is_sure() -> None:
    verdict = judge_pairs(TIMES, slowed(1.08))
    assert (verdict.certainty, verdict.slower) == ("sure", True)
    assert verdict.sentence == (
        "8.0 % slower, sure; p = 0.0005, 12 pairs; between 6.6 % slower and 9.3 % slower"
    )


def test_a_speed_up_in_pairs_is_sure_and_exceeds_no_limit() -> None:
    verdict = judge_pairs(TIMES, slowed(0.9))
    assert verdict.certainty == "sure"
    assert verdict.sentence.startswith("10.0 % faster, sure; p = 0.0005, 12 pairs; between 11.")
    assert not verdict.exceeds(0.0)
    assert not verdict.cannot_exclude(0.0)


def test_equal_builds_are_not_sure() -> None:
    verdict = judge_pairs(TIMES, slowed(1.0))
    assert verdict.certainty == "not sure"
    assert verdict.cannot_exclude(0.01)
    assert not verdict.cannot_exclude(0.05)


def test_a_change_below_the_noise_floor_is_not_sure() -> None:
    even = [time * 1.008 for time in TIMES]
    assert judge_pairs(TIMES, even).sentence == (
        "0.8 % slower, not sure; p = 0.0008, 12 pairs; between 0.8 % slower and 0.8 % slower; within the noise floor of"
        " 1.0 %"
    )
    assert judge_pairs(TIMES, even, floor=0.005).certainty == "sure"
    assert judge_pairs(TIMES, slowed(1.08), floor=0.1).certainty == "not sure"


def test_few_pairs_are_never_sure() -> None:
    verdict = judge_pairs(TIMES[:5], slowed(2.0, 5))
    assert verdict.certainty == "not sure"
    assert verdict.sentence == (
        "100.0 % slower, not sure; p = 0.06, 5 pairs; so few pairs cannot give p below 0.01: measure at least 8"
    )
    assert verdict.cannot_exclude(0.5)


def test_every_look_costs_certainty() -> None:
    once, thrice = judge_pairs(TIMES, slowed(1.08)), judge_pairs(TIMES, slowed(1.08), looks=3)
    assert thrice.change.p == pytest.approx(3 * once.change.p)
    assert thrice.change.low < once.change.low < once.change.high < thrice.change.high
    few = judge_pairs(TIMES[:8], slowed(2.0, 8), looks=3)
    assert (few.certainty, few.doubt) == (
        "not sure",
        "so few pairs cannot give p below 0.01: measure at least 10",
    )
    assert judge_pairs(TIMES[:10], slowed(2.0, 10), looks=3).certainty == "sure"


@pytest.mark.parametrize("looks", [1, 3])
def test_equal_builds_are_called_different_in_at_most_one_percent(looks: int) -> None:
    """Simulated, with heavy tails, and with a stop after each group as the measurement does."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):
        noise = np.exp(0.05 * rng.standard_t(2, 12 * looks))
        for look in range(1, looks + 1):
            verdict = judge_pairs(np.ones(12 * look).tolist(), noise[: 12 * look].tolist(), looks=looks)
            if verdict.decided(None):
                break
        alarms += verdict.certainty == "sure"
    assert alarms <= 10  # 4 are expected at most; P(more than 10) = 0.003


def test_pairs_are_enough_if_sure_or_if_larger_changes_are_excluded() -> None:
    slower, equal = judge_pairs(TIMES, slowed(1.08)), judge_pairs(TIMES, slowed(1.0))
    loud = judge_pairs(
        TIMES, [time * (1 + 8 * (wobble - 1)) for time, wobble in zip(TIMES, WOBBLE, strict=True)]
    )
    assert [verdict.decided(None) for verdict in (slower, equal, loud)] == [True, True, False]
    assert [slower.decided(limit) for limit in (0.05, 0.085, 0.1)] == [True, False, True]


def test_limits() -> None:
    verdict = judge_pairs(TIMES, slowed(1.08))
    assert [verdict.exceeds(limit) for limit in (0.0, 0.05, 0.079, 0.09)] == [True, True, True, False]
    assert verdict.cannot_exclude(0.09)
    assert not verdict.cannot_exclude(0.1)


def test_one_run_of_each_is_never_sure() -> None:
    verdict = judge_runs(runs([20.0], 1), runs([30.0], 2))
    assert (verdict.certainty, verdict.slower) == ("not sure", False)
    assert verdict.sentence.startswith(
        "50.0 % slower, not sure; p = 1.00, 1 and 1 run; one run of each shows no noise"
    )
    given = judge_runs(runs([20.0], 1), runs([30.0], 2), floor=0.1)
    assert (given.certainty, given.doubt) == ("likely", "noise floor 10.0 % as given")
    assert judge_runs(runs([20.0], 1), runs([21.0], 2), floor=0.1).certainty == "not sure"


def test_separate_runs_are_at_most_likely() -> None:
    verdict = judge_runs(runs(list(TIMES[:6]), 1), runs(slowed(1.5, 6), 2))
    assert verdict.certainty == "likely"
    assert verdict.exceeds(0.2)
    assert verdict.sentence.endswith(
        "6 and 6 runs; between 30.4 % slower and 72.5 % slower; the runs do not alternate"
        " in time: the machine may have changed"
    )


def test_too_few_separate_runs() -> None:
    verdict = judge_runs(runs(list(TIMES[:4]), 1), runs(slowed(1.5, 4), 2))
    assert verdict.certainty == "not sure"
    assert verdict.doubt == "so few runs cannot give p below 0.01: store at least 5 of each"


def test_the_noise_floor_is_the_spread_of_one_build() -> None:
    loud = [20.0, 30.0, 20.0, 30.0, 20.0, 30.0, 20.0, 30.0]
    new = [31.0, 32.0, 31.5, 32.5, 31.2, 31.8, 32.2, 31.1]
    verdict = judge_runs(runs(loud, 1), runs(new, 2))
    assert verdict.change.p <= 0.01
    assert verdict.floor == pytest.approx(0.5)
    assert verdict.certainty == "not sure"


def test_runs_that_alternate_are_pairs() -> None:
    base, new = runs(list(TIMES), 1, 4), runs(slowed(1.08), 1, 4)
    later = [StoredRun(run.created.replace(":00+", ":30+"), run.median_ms) for run in new]
    assert judge_runs(base, later).unit == "12 pairs"
    assert judge_runs(base, later).certainty == "sure"
    assert judge_runs(list(reversed(base)), later).certainty == "sure", "the order of files does not matter"
    assert judge_runs(base[:11], later).unit == "11 and 12 runs"
