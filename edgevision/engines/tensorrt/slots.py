"""Execution slots that take turns: while the GPU runs the batch of one slot, it copies the batch of the other.

Each slot has a stream, buffers and captured graphs of its own, so nothing of a batch is overwritten before its outputs
were read. The host waits for one event: the end of the batch whose outputs are wanted.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable

from edgevision.contract.inputs import Arrays
from edgevision.contract.results import Outputs
from edgevision.engines.tensorrt.execution_context import ExecutionContext
from edgevision.errors import EngineError

LOG = logging.getLogger(__name__)

SLOTS = 2
"""With two, copies and inference overlap. More would only queue batches that wait for the same GPU."""


class Flight:
    """A batch in a slot, from `Slots.start` to its outputs."""

    def __init__(self, slot: ExecutionContext) -> None:
        self.slot = slot
        self.device_ms = 0.0
        self._outputs: Outputs | None = None
        self._failure: EngineError | None = None

    def land(self) -> None:
        """Wait for the batch and keep its outputs, or its error."""
        if self._outputs is None and self._failure is None:
            try:
                self._outputs = self.slot.finish()
            except EngineError as error:
                self._failure = error
            self.device_ms = self.slot.device_ms

    def take(self) -> Outputs:
        """The outputs after `land`; raises its `EngineError`."""
        if self._failure is not None:
            raise self._failure
        assert self._outputs is not None
        return self._outputs


class Slots:
    """Up to `limit` execution contexts of one session; not thread-safe."""

    def __init__(self, make: Callable[[], ExecutionContext], limit: int) -> None:
        """Makes the first context. The others follow when two batches are in progress for the first time."""
        self._make = make
        self.limit = limit
        self._slots = [make()]
        self._flights: deque[Flight] = deque()
        """Oldest first."""

    @property
    def first(self) -> ExecutionContext:
        """The context that every session has."""
        return self._slots[0]

    def start(self, arrays: Arrays) -> Flight:
        """Queue a batch in a free slot; without one, the oldest batch is waited for first. Raises `EngineError`."""
        slot = self._free()
        slot.start(arrays)
        flight = Flight(slot)
        self._flights.append(flight)
        return flight

    def finish(self, flight: Flight) -> Outputs:
        """Wait for a batch and free its slot; raises `EngineError`."""
        self._land(flight)
        return flight.take()

    def close(self) -> None:
        """Finish all batches and release everything; may be called twice. Raises the last `EngineError`."""
        while self._flights:
            self._land(self._flights[0])
        with contextlib.ExitStack() as stack:
            for slot in self._slots:
                stack.callback(slot.close)

    def _free(self) -> ExecutionContext:
        busy = {id(flight.slot) for flight in self._flights}
        idle = [slot for slot in self._slots if id(slot) not in busy]
        if not idle and len(self._slots) < self.limit:
            try:
                self._slots.append(self._make())
                return self._slots[-1]
            except EngineError as error:
                self.limit = len(self._slots)
                LOG.warning("one batch at a time, because the second execution slot failed: %s", error)
        if not idle:
            self._land(self._flights[0])
            return self._free()
        return idle[0]

    def _land(self, flight: Flight) -> None:
        if flight in self._flights:
            self._flights.remove(flight)
        flight.land()
