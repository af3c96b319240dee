"""Prometheus metrics of the machine: temperatures, clocks, power, throttling and memory, in base units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from edgevision.device.facts import available_memory_mib, resident_mib
from edgevision.device.power.reading import power_state
from edgevision.device.power.state import PowerState

MIB = 2.0**20
Steady = Callable[[tuple[str, ...], float], float]
"""Turns a count that may restart at 0 into one that never falls."""


def machine_metrics(steady: Steady) -> Iterator[Metric]:
    """All metrics of the machine; docs/live.md lists them."""
    state = power_state()
    sensors = [(reading.name, reading.value) for reading in state.temperatures_c]
    yield _gauge("temperature_celsius", "Thermal zones and cards of the machine.", "sensor", sensors)
    clocks = [(clock.name, clock.mhz * 1e6) for clock in state.clocks]
    yield _gauge("clock_hertz", "Current clocks.", "domain", clocks)
    limits = [(c.name, (c.limit_mhz or c.hardware_mhz or 0.0) * 1e6) for c in state.clocks]
    yield _gauge("clock_limit_hertz", "Current maximum of a clock.", "domain", [r for r in limits if r[1]])
    watts = [(reading.name, reading.value) for reading in state.watts]
    yield _gauge("power_watts", "Power of a rail or a card.", "rail", watts)
    yield from _throttling(state, steady)
    yield _gauge_of_one("resident_memory_bytes", "Resident memory of this process.", resident_mib() * MIB)
    text = "Memory available without swapping."
    yield _gauge_of_one("available_memory_bytes", text, available_memory_mib() * MIB)


def _throttling(state: PowerState, steady: Steady) -> Iterator[Metric]:
    active = [(throttle.reason, float(throttle.active)) for throttle in state.throttles]
    yield _gauge("throttled", "1 while this reason throttles the machine.", "reason", active)
    events = CounterMetricFamily(
        "edgevision_throttle_events", "Number of throttling events of this reason.", labels=("reason",)
    )
    for throttle in state.throttles:
        if throttle.events is not None:
            events.add_metric(
                (throttle.reason,), steady(("throttle_events", throttle.reason), throttle.events)
            )
    yield events
    mode = InfoMetricFamily("edgevision_power_mode", "Power mode set by nvpmodel.", labels=("mode",))
    if state.mode is not None:
        mode.add_metric((state.mode,), {})
    yield mode


def _gauge(name: str, text: str, label: str, rows: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(f"edgevision_{name}", text, labels=(label,))
    for value, number in _distinct(rows):
        family.add_metric((value,), number)
    return family


def _gauge_of_one(name: str, text: str, number: float) -> Metric:
    return GaugeMetricFamily(f"edgevision_{name}", text, number)


def _distinct(rows: Iterable[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Names and values; if sensors share a name, the later ones are numbered."""
    seen: dict[str, int] = {}
    for name, number in rows:
        seen[name] = times = seen.get(name, 0) + 1
        yield (name if times == 1 else f"{name} {times}"), number
