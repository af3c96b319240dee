"""Reads clocks, power and throttling of a Jetson from files under ``/sys`` that every user can read.

Sources of the paths, with Jetson Linux 35, 36 and 38: NVIDIA's guide "Platform Power and Performance" (over-current
counters, INA3221 rails), the kernel's ``tegra234-oc-event`` driver (``soctherm_oc``: ``ocN_event_cnt``), jetson-stats
(devfreq names of each GPU, INA3221 labels and alarms).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgevision.device.facts import FactReading
from edgevision.device.power.state import Clock, Throttle

GPU_DEVFREQ = re.compile(r"gp10b|gv11b|ga10b|gb10b|\.gpu$|^gpu-gpc")
"""Devfreq names of the GPUs of TX2, Xavier, Orin (35 and 36) and Thor (38)."""
MEMORY_DEVFREQ = re.compile(r"^bwmgr$")
"""The memory clock on Thor."""
OVER_CURRENT = {
    1: "under-voltage (OC1)",
    2: "average over-current (OC2)",
    3: "instantaneous over-current (OC3)",
}
"""Meaning of the counters of Orin and Thor, from NVIDIA's guide."""
COOLING = re.compile(r"-alert$|^(thermal-)?(cpufreq|devfreq)")
"""Cooling devices that slow the chip down or report that it is too hot; a fan is not one of them."""


def clocks(root: Path) -> tuple[Clock, ...]:
    """Clocks of the CPU's domains, the GPU and the memory, each with its limits."""
    found = []
    for policy in sorted(root.glob("sys/devices/system/cpu/cpufreq/policy*")):
        names = ("scaling_cur_freq", "scaling_max_freq", "scaling_min_freq", "cpuinfo_max_freq")
        now, limit, least, hardware = (_number(policy / name, 1e3) for name in names)
        if now is not None:
            found.append(_clock(f"cpu {policy.name}", now, limit, least, hardware))
    for device in sorted(root.glob("sys/class/devfreq/*")):
        gpu, memory = GPU_DEVFREQ.search(device.name), MEMORY_DEVFREQ.search(device.name)
        now, limit, least = (_number(device / name, 1e6) for name in ("cur_freq", "max_freq", "min_freq"))
        if now is not None and (gpu or memory):
            kind = "gpu" if gpu else "memory"
            hardware = max(_numbers(device / "available_frequencies", 1e6), default=None)
            found.append(_clock(f"{kind} {device.name}", now, limit, least, hardware))
    return tuple(found)


def watts(root: Path) -> tuple[FactReading, ...]:
    """Power of each rail that an INA3221 on the board measures."""
    found = []
    for sensor, channel, label in _rails(root):
        millivolts = _number(sensor / f"in{channel}_input", 1)
        milliamperes = _number(sensor / f"curr{channel}_input", 1)
        if millivolts is not None and milliamperes is not None:
            found.append(FactReading(label, millivolts * milliamperes / 1e6))
    return tuple(found)


def throttles(root: Path) -> tuple[Throttle, ...]:
    """Over-current counters, current alarms of the rails, and active cooling devices."""
    found = []
    for sensor in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if _text(sensor / "name") == "soctherm_oc":
            for number, reason in OVER_CURRENT.items():
                count = _number(sensor / f"oc{number}_event_cnt", 1)
                if count is not None:
                    found.append(Throttle(reason, active=False, events=int(count)))
    for sensor, channel, label in _rails(root):
        for kind, limit in (("crit", "critical"), ("max", "average")):
            alarm = _number(sensor / f"curr{channel}_{kind}_alarm", 1)
            if alarm is not None:
                found.append(Throttle(f"{label} over its {limit} current limit", active=alarm > 0))
    for device in sorted(root.glob("sys/class/thermal/cooling_device*"), key=_by_number):
        kind_name, state = _text(device / "type") or "", _number(device / "cur_state", 1)
        if state is not None and COOLING.search(kind_name):
            found.append(Throttle(f"temperature ({kind_name})", active=state > 0))
    return tuple(found)


def _clock(name: str, now: float, limit: float | None, least: float | None, hardware: float | None) -> Clock:
    locked = None if limit is None or least is None else least >= limit
    return Clock(name, now, limit, hardware, locked)


def _rails(root: Path) -> Iterator[tuple[Path, int, str]]:
    """The sensor's folder, channel and rail label; unconnected channels are omitted."""
    for sensor in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if "ina3221" not in (_text(sensor / "name") or ""):
            continue
        for channel in (1, 2, 3):  # 7 is the sum of the others' shunt voltages
            label = _text(sensor / f"in{channel}_label")
            if label and label != "NC":
                yield sensor, channel, label


def _by_number(path: Path) -> int:
    digits = re.search(r"\d+$", path.name)
    return int(digits[0]) if digits else 0


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:  # also of a disabled sensor
        return None


def _number(path: Path, divisor: float) -> float | None:
    try:
        return float(_text(path) or "") / divisor
    except ValueError:
        return None


def _numbers(path: Path, divisor: float) -> list[float]:
    return [float(word) / divisor for word in (_text(path) or "").split() if word.isdigit()]
