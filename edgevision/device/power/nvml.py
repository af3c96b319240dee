"""Reads clocks, temperature, power and throttle reasons of NVIDIA cards through NVML."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pynvml

from edgevision.device.facts import FactReading
from edgevision.device.power.state import Clock, PowerState, Throttle

REASONS = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x20: "temperature (software)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}
"""Bits of ``nvmlClocksEventReason*`` in nvml.h that indicate a problem; idle clocks and user-set clocks do not."""
CLOCKS = (("gpu", pynvml.NVML_CLOCK_SM), ("memory", pynvml.NVML_CLOCK_MEM))


def cards_state() -> PowerState:
    """State of all cards; unsupported values are omitted."""
    clocks: list[Clock] = []
    temperatures: list[FactReading] = []
    watts: list[FactReading] = []
    throttles: list[Throttle] = []
    for name, handle in _cards():
        for kind, domain in CLOCKS:
            now = _asked(pynvml.nvmlDeviceGetClockInfo, handle, domain)
            highest = _asked(pynvml.nvmlDeviceGetMaxClockInfo, handle, domain)
            if now is not None:
                clocks.append(Clock(f"{kind} {name}", float(now), None, highest))
        celsius = _asked(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
        if celsius is not None:
            temperatures.append(FactReading(name, float(celsius)))
        milliwatts = _asked(pynvml.nvmlDeviceGetPowerUsage, handle)
        if milliwatts is not None:
            watts.append(FactReading(name, milliwatts / 1e3))
        # Named "...ThrottleReasons" until the drivers of 2023; the package has both names.
        bits = _asked(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
        if bits is not None:
            throttles += [Throttle(f"{name}: {text}", bool(bits & bit)) for bit, text in REASONS.items()]
    return PowerState(None, tuple(clocks), tuple(temperatures), tuple(watts), tuple(throttles))


@functools.lru_cache(maxsize=1)
def _cards() -> tuple[tuple[str, Any], ...]:
    """Name and handle of each card; empty without NVML, which stays open for the life of the process."""
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
    except pynvml.NVMLError:
        return ()
    texts = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]
    numbered = [f"{text} {index}" if len(texts) > 1 else text for index, text in enumerate(texts)]
    return tuple(zip(numbered, handles, strict=True))


def _asked(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result; None if this card or driver does not support the query."""
    try:
        return function(*arguments)
    except pynvml.NVMLError:
        return None
