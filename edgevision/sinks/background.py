"""A sink that never blocks the pipeline, whatever happens to its inner sink."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time

from edgevision.errors import SinkError, first_line
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import BusyError, RefusedError, Sink, SinkHealth
from edgevision.sinks.waiting import WaitingResults
from edgevision.sources.backoff import Backoff

log = logging.getLogger(__name__)

CAPACITY = 1000
MAX_BYTES = 64 * 2**20
BACKOFF = Backoff(first_s=0.5, longest_s=10.0)
CLOSE_S = 1.0
"""Time that closing waits for unwritten results."""
LONGEST_RETRY_AFTER_S = 300.0
TIDY_EVERY_S = 60.0


class BackgroundSink(Sink):
    """Passes results to `inner` in its own thread.

    `write` puts them into a queue of at most `capacity` results and `max_bytes`. A full queue drops and counts its
    oldest results, those with events last. Failed writes are retried with growing delays; an error is logged once. Only
    that thread uses and closes `inner`, so that a hanging sink is never closed during a call.
    """

    def __init__(
        self,
        inner: Sink,
        capacity: int = CAPACITY,
        *,
        max_bytes: int = MAX_BYTES,
        backoff: Backoff = BACKOFF,
        close_s: float = CLOSE_S,
    ) -> None:
        self.annotated = inner.annotated
        self.takes_images = inner.takes_images
        self._inner = inner
        self._backoff = backoff
        self._close_s = close_s
        self._chance = random.Random()
        self._waiting = WaitingResults(capacity, max_bytes)
        self._in_hand = 0
        self._dropped = 0
        self._failing = False
        self._last_error: str | None = None
        self._change = threading.Condition()
        """Signals changes of the queue to an idle thread; it does not interrupt the delay before a retry."""
        self._ending = threading.Event()
        self._deadline_s: float | None = None
        """Set by `end`."""
        self._given_up = False
        """True once `close` has counted the rest as lost."""
        self._thread = threading.Thread(target=self._work, name=f"sink {inner.public_name}", daemon=True)
        self._thread.start()

    @property
    def public_name(self) -> str:
        """The inner sink's public name."""
        return self._inner.public_name

    @property
    def health(self) -> SinkHealth:
        """Health of both; `lost` includes results dropped from the queue."""
        inner = self._inner.health
        with self._change:
            return SinkHealth(
                inner.name,
                "failing" if self._failing else inner.state,
                inner.written,
                len(self._waiting) + self._in_hand,
                inner.lost + self._dropped,
                self._last_error or inner.last_error,
            )

    def write(self, processed: FrameResult) -> None:
        """Queue a result; never waits for the inner sink."""
        kept = self._inner.keep(processed)
        if kept is None:
            return
        with self._change:
            if self._deadline_s is not None:
                self._dropped += 1
                return
            self._dropped += self._waiting.put(kept)
            if len(self._waiting) == 1:
                self._change.notify_all()

    def end(self) -> None:
        """Accept no more results; the time limit for queued results starts now."""
        with self._change:
            if self._deadline_s is None:
                self._deadline_s = time.monotonic() + self._close_s
                self._ending.set()
                self._change.notify_all()

    def close(self) -> None:
        """Wait briefly for unwritten results; the rest is lost."""
        self.end()
        with self._change:
            if self._given_up or self._deadline_s is None:
                return
            left_s = self._deadline_s - time.monotonic()
        self._thread.join(max(left_s, 0))
        with self._change:
            left = self._waiting.clear() + self._in_hand
            self._in_hand = 0
            self._given_up = True
            self._dropped += left
            lost = self._dropped + self._inner.lost
        if lost:
            log.warning("%s: %d results were lost", self.public_name, lost)

    def _work(self) -> None:
        try:
            while (batch := self._next()) is not None:
                if batch:
                    self._deliver(batch)
                else:
                    self._tidy()
        finally:
            with contextlib.suppress(SinkError):
                self._inner.close()

    def _next(self) -> list[FrameResult] | None:
        """The next results; an empty list after an idle period; None at the end."""
        with self._change:
            if not self._waiting and self._deadline_s is None:
                self._change.wait(TIDY_EVERY_S)
            if self._is_over() or (self._deadline_s is not None and not self._waiting):
                return None
            batch = self._waiting.take(self._inner.batch_size)
            self._in_hand = len(batch)
            return batch

    def _deliver(self, batch: list[FrameResult]) -> None:
        """Deliver a batch until it is written, refused, or the time limit is reached.

        Retries contain the same batch, so that the receiver can recognize a repetition.
        """
        failures = 0
        while True:
            try:
                self._inner.deliver(batch)
            except SinkError as error:
                self._failed(error)
                if isinstance(error, RefusedError):
                    return self._done(lost=len(batch))
                if not self._wait(error, failures):
                    return self._done(lost=len(batch))
                failures += 1
            except Exception as error:
                # A bug of our own must not be retried forever.
                log.exception("%s could not write a result", self.public_name)
                self._failed(SinkError(f"{type(error).__name__}: {first_line(error)}"))
                return self._done(lost=len(batch))
            else:
                self._succeeded()
                return self._done(lost=0)

    def _wait(self, error: SinkError, failures: int) -> bool:
        """Wait before a retry; False when closing, because there is no time for one."""
        delay_s = self._backoff.delay_s(failures, self._chance)
        if isinstance(error, BusyError):
            delay_s = max(delay_s, min(error.retry_after_s, LONGEST_RETRY_AFTER_S))
        closing = self._ending.is_set()
        self._ending.wait(delay_s)
        return not closing

    def _done(self, *, lost: int) -> None:
        with self._change:
            if not self._given_up:
                self._dropped += lost
                self._in_hand = 0

    def _failed(self, error: SinkError) -> None:
        with self._change:
            known, self._failing = self._failing, True
            self._last_error = str(error)
        if not known:
            log.warning("%s: %s; queueing results while inference continues", self.public_name, error)

    def _succeeded(self) -> None:
        with self._change:
            known, self._failing = self._failing, False
            lost = self._dropped
        if known:
            log.warning("%s works again; %d results lost so far", self.public_name, lost)

    def _tidy(self) -> None:
        try:
            self._inner.tidy()
        except SinkError as error:
            self._failed(error)

    def _is_over(self) -> bool:
        return self._deadline_s is not None and time.monotonic() >= self._deadline_s
