"""Parses lines of NVIDIA's program tegrastats.

Clocks are in MHz, temperatures in °C, and power in mW: the first number is the current value, the others are the
average and the maximum since tegrastats started. Jetson Linux 39 adds the maximum, and a second number to temperatures.
Source: NVIDIA's page "Tegrastats Utility" of Jetson Linux 32 to 39.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from edgevision.device.facts import FactReading
from edgevision.device.power.state import Clock, PowerState

NO_READING_C = -100.0
"""A sensor of a unit that is switched off reads -256 °C."""
MEMORY = re.compile(r"\bRAM (\d+)/(\d+)MB")
CPU = re.compile(r"\bCPU \[([^\]]*)\]")
CORE = re.compile(r"(\d+)%@(\d+)")
GPU = re.compile(r"\bGR3D2?_FREQ(?: (\d+)%)?(?: ?@\[?([\d,]+)\]?)?")
"""Jetson Linux 35 prints the second cluster of an Orin as GR3D2_FREQ, later releases both in brackets."""
EXTERNAL_MEMORY = re.compile(r"\bEMC_FREQ(?: \d+%)? ?@(\d+)")
TEMPERATURE = re.compile(r"(?<!\S)([A-Za-z]\w*)@(-?[\d.]+)C\b")
RAIL = re.compile(r"(?<!\S)([A-Z]\w*) (-?\d+)(?:mW)?/-?\d+(?:mW)?(?:/-?\d+(?:mW)?)?(?!\S)")
NOT_RAILS = ("RAM", "SWAP", "IRAM", "NC")
"""Quotients that are no power, and rails that are not connected."""
TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class TegraStats:
    """One line."""

    memory_mb: tuple[int, int] | None
    """Used and total."""
    cores_mhz: tuple[int | None, ...]
    """Clock of each core; None: switched off."""
    gpu_percent: int | None
    gpu_mhz: tuple[int, ...]
    """Clock of each cluster; empty if the release does not print it. 0: switched off."""
    memory_mhz: int | None
    """Of the external memory controller (EMC); older releases print it for root only."""
    temperatures_c: tuple[FactReading, ...]
    """Without sensors of units that are switched off."""
    watts: tuple[FactReading, ...]
    """Current power of each rail; empty where tegrastats needs root for it."""


def parse_line(line: str) -> TegraStats | None:
    """Parse a line; None if it is none of tegrastats."""
    memory, cpu = MEMORY.search(line), CPU.search(line)
    if memory is None or cpu is None:
        return None
    gpus, external = list(GPU.finditer(line)), EXTERNAL_MEMORY.search(line)
    clusters = [cluster for gpu in gpus if gpu[2] for cluster in gpu[2].split(",")]
    cores = [CORE.fullmatch(core.strip()) for core in cpu[1].split(",")]
    degrees = [(name, float(value)) for name, value in TEMPERATURE.findall(line)]
    rails = [(name, int(milliwatts)) for name, milliwatts in RAIL.findall(line) if name not in NOT_RAILS]
    return TegraStats(
        memory_mb=(int(memory[1]), int(memory[2])),
        cores_mhz=tuple(int(core[2]) if core else None for core in cores),
        gpu_percent=int(gpus[0][1]) if gpus and gpus[0][1] else None,
        gpu_mhz=tuple(int(cluster) for cluster in clusters),
        memory_mhz=int(external[1]) if external else None,
        temperatures_c=tuple(FactReading(name, value) for name, value in degrees if value > NO_READING_C),
        watts=tuple(FactReading(name, milliwatts / 1e3) for name, milliwatts in rails),
    )


def state_of(stats: TegraStats) -> PowerState:
    """The line as a power state, with the fastest core and cluster as clocks."""
    clocks = []
    if any(stats.cores_mhz):
        clocks.append(Clock("cpu", float(max(mhz or 0 for mhz in stats.cores_mhz))))
    if any(stats.gpu_mhz):
        clocks.append(Clock("gpu", float(max(stats.gpu_mhz))))
    if stats.memory_mhz:
        clocks.append(Clock("memory", float(stats.memory_mhz)))
    return PowerState(None, tuple(clocks), stats.temperatures_c, stats.watts)


def read_now() -> PowerState | None:
    """State from tegrastats' first line, which takes up to 0.5 s; None without the program or a line."""
    program = shutil.which("tegrastats")
    if program is None:
        return None
    try:
        with subprocess.Popen(
            (program, "--interval", "100"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as running:
            try:
                output, _ = running.communicate(timeout=0.5)
            except subprocess.TimeoutExpired:
                running.kill()
                output, _ = running.communicate(timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = [stats for stats in map(parse_line, output.splitlines()) if stats is not None]
    return state_of(found[0]) if found else None
