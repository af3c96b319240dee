"""Batches that the engine has taken and not yet answered."""

from __future__ import annotations

import contextlib
import time
from collections import deque

from edgevision.contract.session import Pending, Session
from edgevision.errors import EngineError
from edgevision.pipeline.collector import FrameBatch
from edgevision.pipeline.schedule import EngineSchedule


class InFlight:
    """Batches of one session in progress, oldest first; used by one thread."""

    def __init__(self, session: Session, pace: EngineSchedule) -> None:
        self._session = session
        self._pace = pace
        self._flights: deque[tuple[FrameBatch, Pending]] = deque()

    def __len__(self) -> int:
        return len(self._flights)

    def submit(self, batch: FrameBatch) -> None:
        """Give the engine a batch; its call counts from here, or from the end of the batch before it."""
        if not self._flights:
            self._pace.began(batch.rows)
        batch.begun_ns = time.perf_counter_ns()
        self._flights.append((batch, self._session.submit(batch.buffer[: batch.rows])))

    def land(self) -> FrameBatch:
        """Wait for the oldest batch and return it with its outputs; raises `EngineError`."""
        batch, pending = self._flights.popleft()
        batch.outputs = pending.result()
        ended_ns = time.perf_counter_ns()
        batch.inference_ns = ended_ns - batch.begun_ns
        self._pace.ended()
        if self._flights:
            following, _ = self._flights[0]
            following.begun_ns = ended_ns
            self._pace.began(following.rows)
        return batch

    def abandon(self) -> None:
        """Wait until the engine reads no buffer any more; results and errors are dropped."""
        while self._flights:
            _, pending = self._flights.popleft()
            with contextlib.suppress(EngineError):
                pending.result()
