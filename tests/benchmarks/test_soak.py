"""When a soak run may end."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from benchmarks.memory_slope import BUCKET_S, Sample, Sampler
from benchmarks.soak import MB_OF_KIB, MOST_MB_AN_HOUR, Soak, _over, judge

PLAN = Soak(20, 28, 10, Path(), 2, 20, trace=False)
MINUTE_S = 60.0


class RecordedSampler:
    """Private memory that rises at `per_hour` MB, with normal noise of `noise` MB in each of the slope's buckets,
    and by `step_mb` once, from 10 to 14 minutes."""

    def __init__(self, until_s: float, per_hour: float, noise: float, step_mb: float = 0.0) -> None:
        noise_mb = np.random.default_rng(0).normal(0, noise, 1 + int(until_s // BUCKET_S))
        self.samples = []
        for at_s in range(0, int(until_s), 2):
            step = step_mb * min(max(at_s / MINUTE_S - 10, 0), 4) / 4
            private_mb = 146 + step + per_hour * at_s / 3600 + noise_mb[int(at_s // BUCKET_S)]
            self.samples.append(Sample(at_s, round(private_mb / MB_OF_KIB), 0, 0, 0))


@pytest.mark.parametrize(
    ("minutes", "per_hour", "noise", "over"),
    [
        (19.9, 0.1, 0.0, False),
        (20.1, 0.1, 0.0, True),
        (20.1, 0.9, 0.05, True),
        (20.1, 1.2, 0.05, False),
        (20.1, 5.0, 0.05, False),
        (28.1, 1.2, 0.05, True),
    ],
    ids=["too early", "level", "below the limit", "above the limit", "growth", "longest run"],
)
def test_run_ends_once_its_slope_is_over(minutes: float, per_hour: float, noise: float, over: bool) -> None:
    sampler = cast(Sampler, RecordedSampler(minutes * MINUTE_S, per_hour, noise))
    assert _over(PLAN, minutes * MINUTE_S, sampler) == over


def test_a_step_is_not_taken_for_growth() -> None:
    settled = cast(Sampler, RecordedSampler(27 * MINUTE_S, 0.0, 0.05, step_mb=0.4))
    at_20 = [sample for sample in settled.samples if sample.at_s < 20 * MINUTE_S]
    assert judge(at_20, PLAN.warm_up_minutes * MINUTE_S)[0].per_hour > MOST_MB_AN_HOUR
    assert _over(PLAN, 27 * MINUTE_S, settled)


def test_growth_fails_after_the_longest_run() -> None:
    grown = RecordedSampler(28 * MINUTE_S, 1.5, 0.05)
    assert judge(grown.samples, PLAN.warm_up_minutes * MINUTE_S)[0].per_hour > MOST_MB_AN_HOUR
