"""When the engine will be free: so that a camera's frame is taken just before, and not earlier."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable

REMEMBERED = 15
"""Calls whose median says how long the next one of as many frames takes."""


class EngineSchedule:
    """Follows batches from the moment they are ready until the engine has answered.

    One thread prepares (`prepared`, `queued`, `taken_back`, the waits), another one runs the engine (`began`, `ended`),
    anybody asks.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock_ns = clock_ns
        self._changed = threading.Condition()
        self._waiting = 0
        self._began_ns: int | None = None
        self._rows = 0
        self._calls: dict[int, deque[int]] = {}
        self._preparations: deque[int] = deque(maxlen=REMEMBERED)
        self._over = False

    def queued(self) -> None:
        """A batch waits for the engine."""
        with self._changed:
            self._waiting += 1

    def taken_back(self) -> None:
        """The batch that waited does so no longer: newer frames are put into it."""
        with self._changed:
            self._waiting -= 1

    def prepared(self, took_ns: int) -> None:
        """Taking frames for a batch and preparing them took so long."""
        with self._changed:
            self._preparations.append(took_ns)

    def began(self, rows: int) -> None:
        """The engine was given the batch that waited."""
        with self._changed:
            self._waiting -= 1
            self._began_ns, self._rows = self._clock_ns(), rows
            self._changed.notify_all()

    def ended(self) -> None:
        """The engine has answered."""
        with self._changed:
            assert self._began_ns is not None
            calls = self._calls.setdefault(self._rows, deque(maxlen=REMEMBERED))
            calls.append(self._clock_ns() - self._began_ns)
            self._began_ns = None
            self._changed.notify_all()

    def close(self) -> None:
        """Wake all who wait."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def busy_s(self) -> float:
        """How long the call under way has taken so far; 0 while there is none."""
        began_ns = self._began_ns
        return 0.0 if began_ns is None else (self._clock_ns() - began_ns) / 1e9

    def expected_ns(self, rows: int | None = None) -> int:
        """What a call of so many frames takes, by the latest ones; None: of as many as the last one. 0 if not known."""
        with self._changed:
            return self._expected_ns(self._rows if rows is None else rows)

    def until_free_ns(self) -> int:
        """How much of the call under way is expected to be left."""
        with self._changed:
            return self._until_free_ns()

    def wait_until_due(self) -> None:
        """Wait until nothing waits and the engine is idle, or is expected to be by the time that a batch is ready."""
        with self._changed:
            while not self._over:
                lead_ns = int(1.25 * statistics.median(self._preparations)) if self._preparations else 0
                left_ns = self._until_free_ns() - lead_ns
                if not self._waiting and left_ns <= 0:
                    return
                self._changed.wait(None if self._waiting else left_ns / 1e9)

    def wait_until_taken(self, timeout_s: float) -> bool:
        """True once no batch waits; False if one still does after so long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting or self._over, timeout_s)

    def _until_free_ns(self) -> int:
        if self._began_ns is None:
            return 0
        return max(self._began_ns + self._expected_ns(self._rows) - self._clock_ns(), 0)

    def _expected_ns(self, rows: int) -> int:
        calls = self._calls.get(rows)
        return int(statistics.median(calls)) if calls else 0
