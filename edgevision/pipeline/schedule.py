"""Prediction of when the engine is free, so that a camera's frame is taken just before."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable

REMEMBERED = 15
"""Number of latest calls whose median predicts the next call with the same number of rows."""


class EngineSchedule:
    """Tracks batches from preparation to the end of inference.

    One thread prepares (`prepared`, `queued`, `taken_back`, the waits), another one runs the engine (`began`, `ended`).
    Any thread may read.
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
        """Record that a batch waits for the engine."""
        with self._changed:
            self._waiting += 1

    def taken_back(self) -> None:
        """Record that the waiting batch was taken back to receive newer frames."""
        with self._changed:
            self._waiting -= 1

    def prepared(self, took_ns: int) -> None:
        """Record the time of taking and preparing the frames of a batch."""
        with self._changed:
            self._preparations.append(took_ns)

    def began(self, rows: int) -> None:
        """Record that the engine has started the waiting batch."""
        with self._changed:
            self._waiting -= 1
            self._began_ns, self._rows = self._clock_ns(), rows
            self._changed.notify_all()

    def ended(self) -> None:
        """Record that the engine has finished."""
        with self._changed:
            assert self._began_ns is not None
            calls = self._calls.setdefault(self._rows, deque(maxlen=REMEMBERED))
            calls.append(self._clock_ns() - self._began_ns)
            self._began_ns = None
            self._changed.notify_all()

    def close(self) -> None:
        """Wake all waiting threads."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def busy_s(self) -> float:
        """Duration of the current call so far; 0 if there is none."""
        began_ns = self._began_ns
        return 0.0 if began_ns is None else (self._clock_ns() - began_ns) / 1e9

    def expected_ns(self, rows: int | None = None) -> int:
        """Expected duration of a call with `rows` rows, from recent calls; None: as many as in the last call. 0 if
        unknown.
        """
        with self._changed:
            return self._expected_ns(self._rows if rows is None else rows)

    def until_free_ns(self) -> int:
        """Expected remaining time of the current call."""
        with self._changed:
            return self._until_free_ns()

    def wait_until_due(self) -> None:
        """Wait until no batch waits and the engine is idle, or will be by the time a batch is ready."""
        with self._changed:
            while not self._over:
                lead_ns = int(1.25 * statistics.median(self._preparations)) if self._preparations else 0
                left_ns = self._until_free_ns() - lead_ns
                if not self._waiting and left_ns <= 0:
                    return
                self._changed.wait(None if self._waiting else left_ns / 1e9)

    def wait_until_taken(self, timeout_s: float) -> bool:
        """True once no batch waits; False after the time-out."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting or self._over, timeout_s)

    def _until_free_ns(self) -> int:
        if self._began_ns is None:
            return 0
        return max(self._began_ns + self._expected_ns(self._rows) - self._clock_ns(), 0)

    def _expected_ns(self, rows: int) -> int:
        calls = self._calls.get(rows)
        return int(statistics.median(calls)) if calls else 0
