"""Counting, warm-up, percentiles and drift, on a simulated clock."""

from __future__ import annotations

import time

import pytest

from edgevision.benchmark.timing import MeasureSettings, Samples, drift, measure


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_warm_up_is_not_kept_and_both_minima_are_reached() -> None:
    clock, calls = Clock(), []

    def work() -> None:
        calls.append(clock.now_ns)
        clock.now_ns += 100_000_000 if len(calls) <= 4 else 10_000_000

    samples = measure(
        work, MeasureSettings(min_s=0.2, min_count=5, warmup_s=0.0, warmup_count=4), clock_ns=clock
    )
    assert samples.values_ns == (10_000_000,) * 20
    assert len(calls) == 24


def test_the_count_is_reached_however_long_it_takes() -> None:
    clock = Clock()

    def work() -> None:
        clock.now_ns += 5_000_000_000

    samples = measure(
        work, MeasureSettings(min_s=1.0, min_count=3, warmup_s=7.0, warmup_count=1), clock_ns=clock
    )
    assert len(samples) == 3
    assert clock.now_ns == 25_000_000_000


def test_real_time_is_measured() -> None:
    samples = measure(
        lambda: time.sleep(0.005), MeasureSettings(min_s=0.0, min_count=5, warmup_s=0, warmup_count=0)
    )
    assert len(samples) == 5
    assert all(5e6 <= value < 1e9 for value in samples.values_ns)


@pytest.mark.parametrize(
    ("percent", "expected_ms"), [(0, 1), (50, 50), (50.5, 51), (90, 90), (99, 99), (99.5, 100), (100, 100)]
)
def test_a_percentile_is_a_sample_that_was_seen(percent: float, expected_ms: float) -> None:
    samples = Samples(tuple(number * 1_000_000 for number in range(100, 0, -1)))
    assert samples.percentile_ms(percent) == expected_ms


def test_one_sample_is_every_percentile() -> None:
    samples = Samples((7_000_000,))
    assert [samples.percentile_ms(percent) for percent in (50, 90, 99)] == [7, 7, 7]
    assert (samples.mean_ms, samples.total_s, len(samples)) == (7, 0.007, 1)


def test_no_outlier_is_removed() -> None:
    samples = Samples((1_000_000,) * 99 + (1_000_000_000,))
    assert samples.mean_ms == pytest.approx(10.99)
    assert samples.percentile_ms(100) == 1000


def test_n_stamps_are_n_minus_1_intervals() -> None:
    assert Samples.between([10, 15, 35]).values_ns == (5, 20)
    with pytest.raises(ValueError, match="at least one sample"):
        Samples.between([10])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0.0),
        ([1.0, 2.0], 0.0),
        ([10.0, 50.0, 12.0], 0.2),
        ([10, 10, 99, 10, 10, 10, 8, 8, 1], -0.2),
        ([0.0, 1.0, 2.0], 0.0),
    ],
)
def test_drift_compares_the_medians_of_the_outer_thirds(values: list[float], expected: float) -> None:
    assert drift(values) == pytest.approx(expected)


@pytest.mark.parametrize(
    "settings", [{"min_count": 0}, {"min_s": -1.0}, {"warmup_s": -1.0}, {"warmup_count": -1}]
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="min_count >= 1 and no negative value"):
        MeasureSettings(**settings)  # type: ignore[arg-type]  # of two types
