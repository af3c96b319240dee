"""When a soak run may end."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from benchmarks.memory_slope import BUCKET_S, Sample, Sampler
from benchmarks.soak import MB_OF_KIB, Soak, _decided

PLAN = Soak(20, 28, 10, Path(), 2, 20, trace=False)
MINUTE_S = 60.0


class RecordedSampler:
    """Private memory that rises at `per_hour` MB, with normal noise of `noise` MB in each of the slope's buckets."""

    def __init__(self, until_s: float, per_hour: float, noise: float) -> None:
        noise_mb = np.random.default_rng(0).normal(0, noise, 1 + int(until_s // BUCKET_S))
        self.samples = []
        for at_s in range(0, int(until_s), 2):
            private_mb = 146 + per_hour * at_s / 3600 + noise_mb[int(at_s // BUCKET_S)]
            self.samples.append(Sample(at_s, round(private_mb / MB_OF_KIB), 0, 0, 0))


@pytest.mark.parametrize(
    ("minutes", "per_hour", "noise", "decided"),
    [
        (19.9, 0.1, 0.0, False),
        (20.1, 0.1, 0.0, True),
        (20.1, 0.9, 0.05, True),
        (20.1, 1.2, 0.05, False),
        (20.1, 5.0, 0.05, True),
        (28.1, 1.2, 0.05, True),
    ],
    ids=["too early", "level", "below the limit", "undecided", "growth for sure", "longest run"],
)
def test_run_ends_once_its_slope_is_decided(
    minutes: float, per_hour: float, noise: float, decided: bool
) -> None:
    sampler = cast(Sampler, RecordedSampler(minutes * MINUTE_S, per_hour, noise))
    assert _decided(PLAN, minutes * MINUTE_S, sampler) == decided
