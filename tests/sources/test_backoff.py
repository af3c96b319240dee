"""Exponential backoff with a maximum and jitter."""

from __future__ import annotations

import random

import pytest

from edgevision.sources.backoff import Backoff


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=0.5, longest_s=5.0, jitter=0.0)
    waits = [backoff.delay_s(failures, random.Random()) for failures in (0, 1, 2, 3, 4, 10_000)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_chance_shortens_a_wait_by_its_share_at_most() -> None:
    chance = random.Random(1)
    waits = [Backoff(1.0, 1.0, jitter=0.5).delay_s(0, chance) for _ in range(500)]
    assert min(waits) == pytest.approx(0.5, abs=0.02)
    assert max(waits) == pytest.approx(1.0, abs=0.02)
    assert sum(waits) / 500 == pytest.approx(0.75, abs=0.03)
