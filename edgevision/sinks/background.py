"""A sink that never makes the pipeline wait, whatever happens to what lies behind it."""

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
"""How long closing waits for what has not been written yet."""
LONGEST_RETRY_AFTER_S = 300.0
TIDY_EVERY_S = 60.0


class BackgroundSink(Sink):
    """Hands results to `inner` in a thread of its own.

    `write` puts them into a queue of `capacity` results and `max_bytes` at most. A full one drops its oldest results,
    those with events last, and counts them as lost. What `inner` cannot write is tried again, with growing waits, until
    it works; its errors are said once in the log. `inner` is used and closed by that thread alone, so that one which
    hangs is never closed under its own feet.
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
        """Of the queue, for a thread that has nothing to do; one that waits for its next attempt is left to sleep."""
        self._ending = threading.Event()
        self._deadline_s: float | None = None
        """Set by `end`."""
        self._given_up = False
        """True once `close` has counted what is left."""
        self._thread = threading.Thread(target=self._work, name=f"sink {inner.public_name}", daemon=True)
        self._thread.start()

    @property
    def public_name(self) -> str:
        """The inner sink's."""
        return self._inner.public_name

    @property
    def health(self) -> SinkHealth:
        """Of both; `lost` counts what was dropped from the queue too."""
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
        """Put it into the queue; never waits for the inner sink."""
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
        """Take no more results; the time that is left for those that wait begins now."""
        with self._change:
            if self._deadline_s is None:
                self._deadline_s = time.monotonic() + self._close_s
                self._ending.set()
                self._change.notify_all()

    def close(self) -> None:
        """Wait a moment for what has not been written yet; what is left then is lost."""
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
        """What is to be written; nothing after some time without anything; None at the end."""
        with self._change:
            if not self._waiting and self._deadline_s is None:
                self._change.wait(TIDY_EVERY_S)
            if self._is_over() or (self._deadline_s is not None and not self._waiting):
                return None
            batch = self._waiting.take(self._inner.batch_size)
            self._in_hand = len(batch)
            return batch

    def _deliver(self, batch: list[FrameResult]) -> None:
        """Until it is written, refused, or the end has come.

        The batch stays as it is meanwhile, so that the other side can tell its repetition.
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
                # A fault of ours must not be repeated for ever with the same result.
                log.exception("%s could not write a result", self.public_name)
                self._failed(SinkError(f"{type(error).__name__}: {first_line(error)}"))
                return self._done(lost=len(batch))
            else:
                self._succeeded()
                return self._done(lost=0)

    def _wait(self, error: SinkError, failures: int) -> bool:
        """Until it may be tried again; False when closing: there is no time for another attempt."""
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
            log.warning("%s: %s; results wait for it, and inference goes on", self.public_name, error)

    def _succeeded(self) -> None:
        with self._change:
            known, self._failing = self._failing, False
            lost = self._dropped
        if known:
            log.warning("%s works again; %d results were lost so far", self.public_name, lost)

    def _tidy(self) -> None:
        try:
            self._inner.tidy()
        except SinkError as error:
            self._failed(error)

    def _is_over(self) -> bool:
        return self._deadline_s is not None and time.monotonic() >= self._deadline_s
