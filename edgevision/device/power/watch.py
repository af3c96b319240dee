"""Warns in the background about over-current, under-voltage, temperature and power mode changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from edgevision.device.power.findings import meanwhile, new_events
from edgevision.device.power.reading import power_state
from edgevision.device.power.state import PowerState

LOG = logging.getLogger(__name__)

PERIOD_S = 5.0
END_S = 1.0
"""Maximum wait at the end for a reading in progress."""
AGAIN_S = 60.0
"""A persistent reason is repeated at most once in this time."""


class PowerWatch:
    """Context manager that reads the power state every few seconds and logs warnings."""

    def __init__(
        self,
        read: Callable[[], PowerState] | None = None,
        *,
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read or power_state
        self._period_s = period_s
        self._clock = clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="power-watch", daemon=True)
        self._first: PowerState | None = None
        self._last: PowerState | None = None
        self._pending: dict[str, int] = {}
        """Counted events by reason that have not been logged yet."""
        self._warned_s: dict[str, float] = {}

    def __enter__(self) -> PowerWatch:
        self.look()  # baseline: events from now on count
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(END_S)

    def summary(self) -> tuple[str, ...]:
        """Slowdowns since the first reading, for the record of a run."""
        if self._first is None:
            return ()
        return meanwhile(self._first, self._read())

    def look(self) -> None:
        """Read once and log new events. Call from one thread only."""
        now, before = self._read(), self._last
        self._last = now
        self._first = self._first or now
        counted = {t.reason: t.events for t in before.throttles} if before else {}
        for throttle in now.throttles:
            events = self._pending.pop(throttle.reason, 0) + new_events(
                counted.get(throttle.reason), throttle
            )
            if not events and not throttle.active:
                continue
            if not self._due(throttle.reason):
                self._pending[throttle.reason] = events
            elif events:
                LOG.warning(
                    "%s: %d times: frames take longer; check power supply and cooling",
                    throttle.reason,
                    events,
                )
            else:
                LOG.warning(
                    "slowed down by %s: frames take longer; check power supply and cooling", throttle.reason
                )
        if before is not None and before.mode != now.mode:
            LOG.warning(
                "power mode changed from %s to %s: engines were timed in the old mode; rebuild them in the new one",
                before.mode,
                now.mode,
            )

    def _due(self, reason: str) -> bool:
        now_s = self._clock()
        last_s = self._warned_s.get(reason)
        if last_s is not None and now_s - last_s < AGAIN_S:
            return False
        self._warned_s[reason] = now_s
        return True

    def _run(self) -> None:
        while not self._ended.wait(self._period_s):
            self.look()
