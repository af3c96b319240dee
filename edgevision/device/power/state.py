"""Mode, clocks, temperatures, power and throttling of a device at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.device.facts import FactReading


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock domain. None: not known here."""

    name: str
    mhz: float
    limit_mhz: float | None = None
    """What it may reach now: on a Jetson the power mode's bound."""
    hardware_mhz: float | None = None
    """What the hardware can."""
    locked: bool | None = None
    """It stays at its limit whatever the load, as after ``jetson_clocks``."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """A reason for which the hardware or its driver slows down."""

    reason: str
    active: bool
    """It does so at this moment."""
    events: int | None = None
    """How often since the start of the system; None where nobody counts."""


@dataclass(frozen=True, slots=True)
class PowerState:
    """All of it at one moment; what cannot be read is left out."""

    mode: str | None = None
    """As nvpmodel names it: "MAXN (0)"."""
    clocks: tuple[Clock, ...] = ()
    temperatures_c: tuple[FactReading, ...] = ()
    watts: tuple[FactReading, ...] = ()
    throttles: tuple[Throttle, ...] = ()
