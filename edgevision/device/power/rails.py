"""Reads the power of supply rails from the sensors of a Jetson, and of the packages of a PC's processor.

| sensor | files |
|---|---|
| INA3221, Jetson Linux 34 and later | hwmon: mV and mA of three channels |
| INA3221, Jetson Linux 28 to 32 | iio under ``/sys/bus/i2c/drivers/ina3221x``: mW of three channels |
| INA238 on Thor's carrier board | hwmon: µW of the input VIN |
| RAPL | powercap: a counter of µJ; readable by root, or by all where an administrator permitted it |

Sources: the kernel's hwmon and powercap documentation, NVIDIA's guide "Power Management" of Jetson Linux 32, and the
list of rails by module of the project energymon (jetson/JetsonPowerRails.md).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgevision.device.facts import ROOT, FactReading
from edgevision.device.power.files import number, text

UNCONNECTED = "NC"


def watts(root: Path) -> tuple[FactReading, ...]:
    """Current power of each rail that a sensor on the board measures."""
    found = []
    for sensor, channel, label in hwmon_rails(root):
        millivolts = number(sensor / f"in{channel}_input", 1)
        milliamperes = number(sensor / f"curr{channel}_input", 1)
        if millivolts is not None and milliamperes is not None:
            found.append(FactReading(label, millivolts * milliamperes / 1e6))
    for sensor in sorted(root.glob("sys/class/hwmon/hwmon*")):
        board_input = number(sensor / "power1_input", 1e6)
        if text(sensor / "name") == "ina238" and board_input is not None:
            found.append(FactReading(text(sensor / "power1_label") or "VIN", board_input))
    return (*found, *_iio_watts(root))


def hwmon_rails(root: Path) -> Iterator[tuple[Path, int, str]]:
    """The folder of each INA3221, and channel and label of its rails; unconnected channels are omitted."""
    for sensor in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if "ina3221" not in (text(sensor / "name") or ""):
            continue
        for channel in (1, 2, 3):  # 7 is the sum of the others' shunt voltages
            label = text(sensor / f"in{channel}_label")
            if label and label != UNCONNECTED:
                yield sensor, channel, label


def _iio_watts(root: Path) -> Iterator[FactReading]:
    """Rails of the driver ina3221x; its folder is ``iio:device0`` or ``iio_device``."""
    devices = {device.resolve() for device in root.glob("sys/bus/i2c/drivers/ina3221x/*/iio[:_]device*")}
    for device in sorted(devices):
        for channel in (0, 1, 2):
            label = text(device / f"rail_name_{channel}")
            milliwatts = number(device / f"in_power{channel}_input", 1)
            if label and label != UNCONNECTED and milliwatts is not None:
                yield FactReading(label, milliwatts / 1e3)


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """Energy that a processor package has taken, since an unknown moment."""

    name: str
    """ "package-0"."""
    joules: float
    wraps_at_joules: float
    """The counter continues at 0 after this value."""

    def since(self, before: EnergyCounter) -> float:
        """Joules since another reading, if it wrapped at most once."""
        difference = self.joules - before.joules
        return difference if difference >= 0 else difference + self.wraps_at_joules


def package_energy(root: Path) -> tuple[EnergyCounter, ...]:
    """RAPL's counter of each readable processor package."""
    found = []
    for zone in sorted(root.glob("sys/class/powercap/*-rapl:*")):
        name = text(zone / "name") or ""
        joules = number(zone / "energy_uj", 1e6)
        wraps = number(zone / "max_energy_range_uj", 1e6)
        if re.fullmatch(r"package-\d+(-die-\d+)?", name) and joules is not None and wraps is not None:
            found.append(EnergyCounter(name, joules, wraps))
    # "intel-rapl-mmio" repeats the packages of "intel-rapl".
    return tuple({counter.name: counter for counter in reversed(found)}.values())[::-1]


def has_packages(root: Path) -> bool:
    """True if the kernel counts the energy of processor packages, readable or not."""
    return any("package" in (text(zone / "name") or "") for zone in root.glob("sys/class/powercap/*-rapl:*"))


class PackageMeter:
    """Average power of each package since the previous reading."""

    def __init__(self, root: Path = ROOT, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._last_s = clock()
        self._last = {counter.name: counter for counter in package_energy(root)}

    @property
    def readable(self) -> bool:
        """True if the kernel lets this process read a package."""
        return bool(self._last)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the packages."""
        return tuple(self._last)

    def watts(self) -> tuple[FactReading, ...]:
        """Average since the previous call, or since the meter was created."""
        now_s, counters = self._clock(), package_energy(self._root)
        passed_s, before = now_s - self._last_s, self._last
        if passed_s <= 0:
            return ()
        self._last_s, self._last = now_s, {counter.name: counter for counter in counters}
        return tuple(
            FactReading(counter.name, counter.since(before[counter.name]) / passed_s)
            for counter in counters
            if counter.name in before
        )
