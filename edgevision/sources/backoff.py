"""How long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from one failure to the next, each shortened by chance.

    The chance keeps a hundred clients from knocking on a restarted server in the same instant.
    """

    first_s: float = 0.5
    longest_s: float = 5.0
    jitter: float = 0.5
    """The share of a wait that is left to chance: 0 for none."""

    def delay_s(self, failures: int, chance: random.Random) -> float:
        """The wait after `failures` attempts in a row that came to nothing, from 0."""
        whole = min(self.longest_s, self.first_s * 2.0 ** min(failures, 32))
        return whole * (1 - self.jitter * chance.random())
