"""Queries the GPU through the driver library, without any Python package."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.device.facts import ROOT, l4t_version

_MAJOR, _MINOR, _MULTIPROCESSORS, _INTEGRATED = 75, 76, 16, 18
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR, _MULTIPROCESSOR_COUNT and _INTEGRATED of the driver's API."""


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One GPU."""

    name: str
    sm: int
    cuda: str
    """Newest CUDA version that the driver supports."""
    driver: str | None
    memory_mib: int
    free_mib: int
    integrated: bool
    """True if it shares the host's memory: a Jetson."""
    multiprocessors: int | None = None
    """None in records of earlier versions."""


def gpu_facts(root: Path = ROOT, *, index: int = 0) -> GpuFacts | None:
    """Query ``libcuda`` for the GPU that CUDA lists at `index`; None without a driver or that GPU."""
    cuda = _driver()
    return None if cuda is None else _facts(cuda, root, index)


def gpu_names() -> tuple[str, ...]:
    """Names of all GPUs in CUDA's order; empty without a driver."""
    cuda = _driver()
    return () if cuda is None else _names(cuda)


def driver_cuda_version() -> int:
    """Newest CUDA version that the driver supports, as CUDA numbers it: 12060 for 12.6; 0 without a driver."""
    cuda, version = _driver(), ctypes.c_int()
    return 0 if cuda is None or cuda.cuDriverGetVersion(ctypes.byref(version)) else version.value


def _driver() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def _names(cuda: Any) -> tuple[str, ...]:
    count, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    found = []
    for index in range(count.value):
        cuda.cuDeviceGet(ctypes.byref(device), index)
        cuda.cuDeviceGetName(name, len(name), device)
        found.append(name.value.decode(errors="replace"))
    return tuple(found)


def _facts(cuda: Any, root: Path, index: int = 0) -> GpuFacts | None:
    count, device = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or count.value <= index:
        return None
    if cuda.cuDeviceGet(ctypes.byref(device), index):
        return None
    name, total, version = ctypes.create_string_buffer(256), ctypes.c_size_t(), ctypes.c_int()
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device)
    cuda.cuDriverGetVersion(ctypes.byref(version))

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        return value.value

    return GpuFacts(
        name=name.value.decode(errors="replace"),
        sm=attribute(_MAJOR) * 10 + attribute(_MINOR),
        cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
        driver=driver_version(root),
        memory_mib=total.value >> 20,
        free_mib=_free_mib(cuda, device, total.value >> 20),
        integrated=bool(attribute(_INTEGRATED)),
        multiprocessors=attribute(_MULTIPROCESSORS),
    )


def sm_text(sm: int) -> str:
    """89 as "SM 8.9", 120 as "SM 12.0"."""
    return f"SM {sm // 10}.{sm % 10}"


def driver_version(root: Path = ROOT) -> str | None:
    """The kernel driver's version; on a Jetson, whose driver has no own version, that of Jetson Linux."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text(errors="replace")
    except OSError:
        text = ""
    match = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    if match:
        return match[1]
    l4t = l4t_version(root)
    return f"L4T {l4t}" if l4t else None


def _free_mib(cuda: Any, device: ctypes.c_int, total_mib: int) -> int:
    """Free memory of the GPU; the query needs a context, so the device's primary one is retained for a moment."""
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    if cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device):
        return total_mib
    try:
        asked: Callable[..., int] = cuda.cuMemGetInfo_v2
        if cuda.cuCtxPushCurrent_v2(context):
            return total_mib
        failed = asked(ctypes.byref(free), ctypes.byref(total))
        cuda.cuCtxPopCurrent_v2(ctypes.byref(context))
        return total_mib if failed else int(free.value) >> 20
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(device)
