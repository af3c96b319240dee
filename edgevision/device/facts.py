"""Hardware and software facts of this machine, which every recorded measurement includes."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgevision.device.power.state import PowerState

from edgevision.device.cpu_class import cpu_class, cpu_computes
from edgevision.device.jetson import (
    JetsonRelease,
    jetpack_of_l4t,
    jetson_release,
    l4t_of_release,
    mode_of_files,
    mode_of_query,
)

ROOT = Path("/")
LIBRARIES = (
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx-cu12",
    "tensorrt-rtx-cu13",
    "nvidia-ml-py",
    "libcudart",
)
"""Distributions of Python, and CUDA's runtime library."""
QUERY_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and its value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FactReading:
    """A sensor and its value."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """Facts of a machine, without anything that identifies its owner. None and empty: unknown."""

    cpu: str
    cores_usable: float
    """By affinity and by the container's quota; the number to use for threads."""
    cores_online: int
    memory_mib: int
    system: str
    kernel: str
    python: str
    board: str | None
    """Board name in the device tree, of a Jetson or a Raspberry Pi."""
    l4t: str | None
    jetpack: str | None
    power_mode: str | None
    gpus: tuple[str, ...]
    clocks_mhz: tuple[FactReading, ...]
    temperatures_c: tuple[FactReading, ...]
    libraries: tuple[Fact, ...]
    cpu_class: str = ""
    """Result of `cpu_class.cpu_class`; empty in records of earlier versions."""
    cpu_computes: tuple[str, ...] = ()
    """Result of `cpu_class.cpu_computes`."""


def device_facts(root: Path = ROOT) -> DeviceFacts:
    """Read the facts. `root` is the root of the file tree, for tests on recorded ones."""
    meminfo = _key_values(root / "proc/meminfo")
    return DeviceFacts(
        cpu=cpu_model(root),
        cores_usable=usable_cores(root),
        cores_online=os.cpu_count() or 1,
        memory_mib=_kib(meminfo.get("MemTotal", "0")) // 1024,
        system=_os_release(root),
        kernel=platform.release(),
        python=platform.python_version(),
        board=board(root),
        l4t=l4t_version(root),
        jetpack=_jetpack(root),
        power_mode=power_mode(root),
        gpus=nvidia_gpus(),
        clocks_mhz=clocks_mhz(root),
        temperatures_c=temperatures_c(root),
        libraries=library_versions(root=root),
        cpu_class=cpu_class(root),
        cpu_computes=cpu_computes(root),
    )


def machine_name(root: Path = ROOT) -> str:
    """Identifies a machine for speed records: board, processor, usable cores, GPUs, power mode."""
    cores = f"{usable_cores(root):g} cores"
    parts = (board(root), cpu_model(root), cores, *nvidia_gpus(), power_mode(root))
    return ", ".join(part for part in parts if part)


def board(root: Path = ROOT) -> str | None:
    """The board's name in the device tree: "NVIDIA Jetson Orin Nano Developer Kit". None on a PC."""
    return _text(root / "proc/device-tree/model") or (None if root != ROOT else _release_summary().board)


def cpu_model(root: Path = ROOT) -> str:
    """The processor's name: from /proc/cpuinfo, on ARM from its implementer and part numbers."""
    info = _key_values(root / "proc/cpuinfo")
    for key in ("model name", "Model", "Hardware"):
        if info.get(key):
            return info[key]
    if "CPU part" in info:
        return f"{platform.machine()} implementer {info.get('CPU implementer', '?')} part {info['CPU part']}"
    return platform.processor() or platform.machine()


def usable_cores(root: Path = ROOT) -> float:
    """Cores that this process may use: the smaller of its affinity and its control group's quota."""
    affinity = float(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = _cgroup_quota(root)
    return affinity if quota is None else min(affinity, quota)


def clocks_mhz(root: Path = ROOT) -> tuple[FactReading, ...]:
    """Current clocks of each CPU frequency domain, of a Jetson's GPU, and of cards that NVML lists."""
    readings = []
    for policy in sorted(root.glob("sys/devices/system/cpu/cpufreq/policy*")):
        khz = _number(policy / "scaling_cur_freq")
        if khz is not None:
            readings.append(FactReading(f"cpu {policy.name}", khz / 1e3))
    for device in sorted(root.glob("sys/class/devfreq/*")):
        hertz = _number(device / "cur_freq")
        if hertz is not None and re.search(r"gpu|ga10b|gv11b|gp10b|gb10b", device.name):
            readings.append(FactReading(f"gpu {device.name}", hertz / 1e6))
    if root == ROOT:
        readings += [FactReading(clock.name, clock.mhz) for clock in _cards().clocks]
    return tuple(readings)


def temperatures_c(root: Path = ROOT) -> tuple[FactReading, ...]:
    """Temperatures of the readable thermal zones and of the cards that NVML lists."""
    readings = []
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        millidegrees = _number(zone / "temp")
        # A disabled zone reads -256 degrees on a Jetson.
        if millidegrees is not None and millidegrees > -100_000:
            readings.append(FactReading(_text(zone / "type") or zone.name, millidegrees / 1e3))
    if root == ROOT:
        readings += _cards().temperatures_c
    return tuple(readings)


def l4t_version(root: Path = ROOT) -> str | None:
    """Version of Jetson Linux, such as 36.4.3; where its file is missing, as in containers, from jetson_release."""
    found = l4t_of_release(_text(root / "etc/nv_tegra_release") or "")
    return found or (None if root != ROOT else _release_summary().l4t)


def resident_mib(root: Path = ROOT) -> float:
    """Resident memory of this process."""
    return _kib(_key_values(root / "proc/self/status").get("VmRSS", "0")) / 1024


def available_memory_mib(root: Path = ROOT) -> int:
    """Memory that a program can take now without swapping, limited by the system and the container."""
    meminfo = _key_values(root / "proc/meminfo")
    free = _kib(meminfo.get("MemAvailable") or meminfo.get("MemFree", "0")) // 1024
    limit = _number(root / "sys/fs/cgroup/memory.max")
    used = _number(root / "sys/fs/cgroup/memory.current")
    if limit is None or used is None:
        return free
    return min(free, int(limit - used) // 2**20)


def peak_resident_mib(root: Path = ROOT) -> float:
    """Peak resident memory of this process."""
    return _kib(_key_values(root / "proc/self/status").get("VmHWM", "0")) / 1024


def library_versions(names: tuple[str, ...] = LIBRARIES, root: Path = ROOT) -> tuple[Fact, ...]:
    """Installed versions of these libraries, found without importing them; of ``libcudart`` also its origin."""
    found = []
    for name in names:
        try:
            value = _cudart_text(root) if name == "libcudart" else importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # most are not installed
            continue
        found += [Fact(name, value)] if value else []
    return tuple(found)


@functools.lru_cache(maxsize=1)
def nvidia_gpus() -> tuple[str, ...]:
    """Name, driver and memory of each GPU that nvidia-smi lists; empty without nvidia-smi."""
    query = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    output = _output_of(query)
    return tuple(line.strip() for line in (output or "").splitlines() if line.strip())


def power_mode(root: Path = ROOT) -> str | None:
    """The power mode of a Jetson, such as "MAXN (0)": from nvpmodel's files, else from nvpmodel or jetson_release."""
    status, config = (_text(root / name) or "" for name in ("var/lib/nvpmodel/status", "etc/nvpmodel.conf"))
    found = mode_of_files(status, config) or mode_of_query(_output_of(("nvpmodel", "-q")) or "")
    return found or (None if root != ROOT else _release_summary().power_mode)


@functools.lru_cache(maxsize=1)
def _release_summary() -> JetsonRelease:
    """What jetson_release of jetson-stats prints; nothing where it is not installed."""
    return jetson_release(_output_of(("jetson_release",)) or "")


def _cudart_text(root: Path) -> str | None:
    # Local import: that module depends on this one.
    from edgevision.device.cuda_runtime import find_cuda_runtime

    found = find_cuda_runtime(root)
    return None if found is None else found.text


def _cards() -> PowerState:
    # Local import: that package depends on this module.
    from edgevision.device.power.reading import nvml_state

    return nvml_state()


def _jetpack(root: Path) -> str | None:
    """The version of the package nvidia-jetpack in dpkg's list; without it, that of this Jetson Linux."""
    for paragraph in (_text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        if paragraph.startswith("Package: nvidia-jetpack\n"):
            match = re.search(r"^Version: (\S+)", paragraph, re.MULTILINE)
            return match[1] if match else None
    l4t = l4t_version(root)
    found = None if l4t is None else jetpack_of_l4t(l4t)
    return found or (None if root != ROOT else _release_summary().jetpack)


def _os_release(root: Path) -> str:
    pretty = re.search(r'^PRETTY_NAME="?([^"\n]+)', _text(root / "etc/os-release") or "", re.MULTILINE)
    return pretty[1] if pretty else platform.system()


def _cgroup_quota(root: Path) -> float | None:
    """Cores granted by a control group of version 2, else of version 1; None without a limit."""
    two = (_text(root / "sys/fs/cgroup/cpu.max") or "").split()
    if len(two) == 2:
        return None if two[0] == "max" else int(two[0]) / int(two[1])
    quota = _number(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period = _number(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _output_of(command: tuple[str, ...]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=QUERY_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _text(path: Path) -> str | None:
    """A file's text without the zero byte that ends strings of the device tree; None if unreadable."""
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _number(path: Path) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None


def _key_values(path: Path) -> dict[str, str]:
    """Lines of the form "key : value"; the first one of a repeated key."""
    values: dict[str, str] = {}
    for line in (_text(path) or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            values.setdefault(key.strip(), value.strip())
    return values


def _kib(text: str) -> int:
    """A number of kB in the format of /proc."""
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 0
