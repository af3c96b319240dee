"""Exponential back-off with jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double with each failure and have random jitter.

    The jitter prevents many clients from reconnecting to a restarted server at the same instant.
    """

    first_s: float = 0.5
    longest_s: float = 5.0
    jitter: float = 0.5
    """The random share of a delay; 0 for none."""

    def delay_s(self, failures: int, chance: random.Random) -> float:
        """The delay after `failures` earlier failed attempts in a row."""
        whole = min(self.longest_s, self.first_s * 2.0 ** min(failures, 32))
        return whole * (1 - self.jitter * chance.random())
