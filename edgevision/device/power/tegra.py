"""Reads clocks and throttling of a Jetson from files under ``/sys`` that every user can read.

Sources of the paths, with Jetson Linux 35, 36 and 38: NVIDIA's guide "Platform Power and Performance" (over-current
counters), the kernel's ``tegra234-oc-event`` driver (``soctherm_oc``: ``ocN_event_cnt``), jetson-stats
(devfreq names of each GPU, INA3221 alarms).
"""

from __future__ import annotations

import re
from pathlib import Path

from edgevision.device.power.files import number, numbers, text
from edgevision.device.power.rails import hwmon_rails
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
        now, limit, least, hardware = (number(policy / name, 1e3) for name in names)
        if now is not None:
            found.append(_clock(f"cpu {policy.name}", now, limit, least, hardware))
    for device in sorted(root.glob("sys/class/devfreq/*")):
        gpu, memory = GPU_DEVFREQ.search(device.name), MEMORY_DEVFREQ.search(device.name)
        now, limit, least = (number(device / name, 1e6) for name in ("cur_freq", "max_freq", "min_freq"))
        if now is not None and (gpu or memory):
            kind = "gpu" if gpu else "memory"
            hardware = max(numbers(device / "available_frequencies", 1e6), default=None)
            found.append(_clock(f"{kind} {device.name}", now, limit, least, hardware))
    return tuple(found)


def throttles(root: Path) -> tuple[Throttle, ...]:
    """Over-current counters, current alarms of the rails, and active cooling devices."""
    found = []
    for sensor in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if text(sensor / "name") == "soctherm_oc":
            for counter, reason in OVER_CURRENT.items():
                count = number(sensor / f"oc{counter}_event_cnt", 1)
                if count is not None:
                    found.append(Throttle(reason, active=False, events=int(count)))
    for sensor, channel, label in hwmon_rails(root):
        for kind, limit in (("crit", "critical"), ("max", "average")):
            alarm = number(sensor / f"curr{channel}_{kind}_alarm", 1)
            if alarm is not None:
                found.append(Throttle(f"{label} over its {limit} current limit", active=alarm > 0))
    for device in sorted(root.glob("sys/class/thermal/cooling_device*"), key=_by_number):
        kind_name, state = text(device / "type") or "", number(device / "cur_state", 1)
        if state is not None and COOLING.search(kind_name):
            found.append(Throttle(f"temperature ({kind_name})", active=state > 0))
    return tuple(found)


def _clock(name: str, now: float, limit: float | None, least: float | None, hardware: float | None) -> Clock:
    locked = None if limit is None or least is None else least >= limit
    return Clock(name, now, limit, hardware, locked)


def _by_number(path: Path) -> int:
    digits = re.search(r"\d+$", path.name)
    return int(digits[0]) if digits else 0
