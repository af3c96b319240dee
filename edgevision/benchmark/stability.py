"""The machine's state before, during and after a measurement, and the reasons why a result is unstable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgevision.benchmark.timing import DRIFT_LIMIT, Samples, drift, outer_medians
from edgevision.device.facts import FactReading, clocks_mhz, temperatures_c
from edgevision.device.power import tegrastats
from edgevision.device.power.rails import PackageMeter
from edgevision.device.power.reading import power_state

PERIOD_S = 2.0
"""Time between two readings; one takes about a millisecond of one core."""
MOST_RISE_C = 5.0
"""A larger rise of a temperature makes a result unstable."""
MOST_TAIL = 2.0
"""A larger quotient of p99 and p50 makes a result unstable."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The machine's state at one moment of a measurement."""

    clocks_mhz: tuple[FactReading, ...]
    temperatures_c: tuple[FactReading, ...]
    at_s: float = 0.0
    """Since the first one."""
    watts: tuple[FactReading, ...] = ()
    slowed_by: tuple[str, ...] = ()
    """Reasons for which the hardware or its driver slows down at this moment."""


class MachineReader:
    """Reads the state: of a Jetson whose sensors are not mounted, as in some containers, from tegrastats."""

    def __init__(self) -> None:
        self._packages = PackageMeter()

    def __call__(self) -> Snapshot:
        """The state now; the power of processor packages is the average since the previous call."""
        power = power_state()
        clocks, temperatures, watts = clocks_mhz(), temperatures_c(), (*power.watts, *self._packages.watts())
        if not watts and (printed := tegrastats.read_now()) is not None:
            clocks = clocks or tuple(FactReading(clock.name, clock.mhz) for clock in printed.clocks)
            temperatures = temperatures or printed.temperatures_c
            watts = printed.watts
        slowed_by = tuple(throttle.reason for throttle in power.throttles if throttle.active)
        return Snapshot(clocks, temperatures, watts=watts, slowed_by=slowed_by)


class MachineWatch:
    """Context manager that reads the state at its start, every `period_s`, and at its end."""

    def __init__(self, read: Callable[[], Snapshot] | None = None, *, period_s: float = PERIOD_S) -> None:
        self._read = MachineReader() if read is None else read
        self._period_s = period_s
        self._began_s = 0.0
        self._snapshots: list[Snapshot] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="machine-watch", daemon=True)

    def __enter__(self) -> MachineWatch:
        self._began_s = time.monotonic()
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """All readings so far, in order."""
        return tuple(self._snapshots)

    def take(self) -> tuple[Snapshot, ...]:
        """The readings since the previous call, which are not kept."""
        taken, self._snapshots = self._snapshots, []
        return tuple(taken)

    def _look(self) -> None:
        now = self._read()
        at_s = round(time.monotonic() - self._began_s, 3)
        self._snapshots.append(Snapshot(now.clocks_mhz, now.temperatures_c, at_s, now.watts, now.slowed_by))

    def _run(self) -> None:
        while not self._ended.wait(self._period_s):
            self._look()


def instabilities(inference: Samples, snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    """Reasons why a result is unstable.

    Drift of latency or a clock: the medians of the first and the last third differ by more than `DRIFT_LIMIT`. Rise of
    a temperature by more than `MOST_RISE_C` between them. A tail: p99 over p50 above `MOST_TAIL`. Throttling in any
    reading.
    """
    found = []
    latency = drift([float(value) for value in inference.values_ns])
    if abs(latency) > DRIFT_LIMIT:
        found.append(f"inference latency in ms moved by {latency:+.0%} from first to last third")
    p50_ms, p99_ms = inference.percentile_ms(50), inference.percentile_ms(99)
    if p99_ms > MOST_TAIL * p50_ms:
        found.append(f"p99 of inference is {p99_ms / p50_ms:.1f} times p50; limit {MOST_TAIL:g}")
    busy = snapshots[1:-1]  # an idle machine lowers its clocks before and after
    for name, values in _series([shot.clocks_mhz for shot in busy]).items():
        moved = drift(values)
        if abs(moved) > DRIFT_LIMIT:
            found.append(f"clock in MHz of {name} moved by {moved:+.0%} from first to last third")
    for name, values in _series([shot.temperatures_c for shot in snapshots]).items():
        first_c, last_c = outer_medians(values)
        if last_c - first_c > MOST_RISE_C:
            found.append(f"temperature of {name} rose from {first_c:.0f} to {last_c:.0f} °C")
    reasons = dict.fromkeys(reason for shot in snapshots for reason in shot.slowed_by)
    return (*found, *(f"slowed down by {reason}" for reason in reasons))


def _series(readings: Sequence[Sequence[FactReading]]) -> dict[str, list[float]]:
    """Values by sensor, in order."""
    series: dict[str, list[float]] = {}
    for moment in readings:
        for reading in moment:
            series.setdefault(reading.name, []).append(reading.value)
    return series
