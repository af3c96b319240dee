"""The slope of a process's memory is robust, and its interval covers the true slope."""

from __future__ import annotations

import mmap
import threading

import numpy as np
import pytest

from benchmarks.memory_slope import Sampler, sample, slope

HOUR_S = 3600.0


def test_a_straight_line_has_its_exact_slope() -> None:
    at_s = np.arange(0, 1200, 5.0)
    found = slope(at_s.tolist(), (100 + 2.5 * at_s / HOUR_S).tolist())
    assert found.per_hour == pytest.approx(2.5)
    assert [found.low, found.high] == pytest.approx([2.5, 2.5])
    assert found.count == 40


def test_constant_memory_has_slope_zero() -> None:
    found = slope([float(second) for second in range(600)], [160.0] * 600)
    assert (found.per_hour, found.low, found.high) == (0, 0, 0)


def test_a_leak_is_found_in_noise_with_peaks() -> None:
    chance = np.random.default_rng(5)
    at_s = np.arange(0, 1200, 2.0)
    held = 0
    for _ in range(40):
        noise = chance.normal(0, 0.1, at_s.size) + 20 * (chance.random(at_s.size) < 0.05)
        found = slope(at_s.tolist(), (160 + 3.0 * at_s / HOUR_S + noise).tolist())
        held += found.low <= 3.0 <= found.high
        assert 2.0 < found.per_hour < 4.0
    assert held >= 32  # of 40 intervals of 90 %


def test_fewer_than_three_values_are_rejected() -> None:
    with pytest.raises(ValueError, match="needs at least 3"):
        slope([0.0, 1.0], [1.0, 1.0])


def test_a_sample_measures_the_memory_of_the_process() -> None:
    before = sample(0.0)
    # Memory of the system: the heap may have free space from earlier tests.
    held = mmap.mmap(-1, 32 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, len(held), mmap.PAGESIZE):
        held[page] = 1
    after = sample(1.0)
    assert 30_000 < after.anonymous_kib - before.anonymous_kib < 40_000
    assert 30_000 < after.pss_kib - before.pss_kib < 40_000
    assert after.blocks > 10_000
    assert after.threads == threading.active_count()
    held.close()


def test_samples_are_in_order() -> None:
    enough = threading.Event()
    with Sampler(0.01, lambda taken: enough.set() if taken.at_s > 0.05 else None) as sampler:
        assert enough.wait(20)
    times = [taken.at_s for taken in sampler.samples]
    assert len(times) >= 2
    assert times == sorted(times)
    assert isinstance(sampler.samples[0].anonymous_kib, int)
