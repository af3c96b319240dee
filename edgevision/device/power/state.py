"""Data classes for mode, clocks, temperatures, power and throttling of a device at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.device.facts import FactReading


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock domain. None: unknown."""

    name: str
    mhz: float
    limit_mhz: float | None = None
    """Current upper limit; on a Jetson, the limit of the power mode."""
    hardware_mhz: float | None = None
    """Hardware maximum."""
    locked: bool | None = None
    """True if it stays at its limit regardless of load, as after ``jetson_clocks``."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """A reason for which the hardware or its driver slows down."""

    reason: str
    active: bool
    """True at this moment."""
    events: int | None = None
    """Count since the start of the system; None without a counter."""


@dataclass(frozen=True, slots=True)
class PowerState:
    """Power state at one moment; unreadable values are omitted."""

    mode: str | None = None
    """As named by nvpmodel: "MAXN (0)"."""
    clocks: tuple[Clock, ...] = ()
    temperatures_c: tuple[FactReading, ...] = ()
    watts: tuple[FactReading, ...] = ()
    throttles: tuple[Throttle, ...] = ()
