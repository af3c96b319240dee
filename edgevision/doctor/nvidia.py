"""Checks the requirements of NVIDIA engines: driver, TensorRT, its Python module, CUDA's runtime, and Jetson power."""

from __future__ import annotations

import re

from edgevision.device.cuda_runtime import apt_command, pip_package
from edgevision.device.gpu import sm_text
from edgevision.doctor.diagnosis import Finding
from edgevision.doctor.system_facts import PowerMode, SystemFacts
from edgevision.engines.tensorrt.versions import Dialect, dialect, supports_sm, version_numbers
from edgevision.errors import EngineError

SMALL_MIB, LEAST_SWAP_MIB = 8192, 4096
"""Boards with at most this memory need at least this swap to build engines."""
LEAST_PYTHON = (3, 10)
_WITH_DLA = ("Xavier", "Orin NX", "AGX Orin")
_SWAP = "sudo fallocate -l 4G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"


def diagnose_nvidia(machine: SystemFacts) -> list[Finding]:
    """Check everything from the driver up to an engine's needs; one finding if there is no NVIDIA GPU."""
    if machine.gpu is None and not machine.jetson and not machine.device.gpus:
        return [Finding("missing", "NVIDIA GPU", "none found; models run on the CPU")]
    findings = [_gpu(machine)]
    if machine.jetson or machine.library("tensorrt") or not _rtx(machine):
        findings.append(_tensorrt(machine))
    findings.append(_cuda_runtime(machine))
    if not machine.jetson:
        findings.append(_sensors(machine))
    if machine.jetson:
        findings += [*_dla(machine), *_power(machine), *_swap(machine)]
    return findings


def _gpu(machine: SystemFacts) -> Finding:
    gpu = machine.gpu
    if gpu is not None:
        shared = " shared with the CPU" if gpu.integrated else ""
        size = f"{gpu.multiprocessors} multiprocessors, " if gpu.multiprocessors else ""
        dla = f", DLA cores: {machine.dla_cores}" if machine.dla_cores else ""
        memory = f"{gpu.memory_mib} MiB{shared}"
        detail = f"{gpu.name}, {sm_text(gpu.sm)}, {size}{memory}{dla}; driver {gpu.driver or '?'}"
        return Finding("ok", "NVIDIA GPU", f"{detail}, for CUDA up to {gpu.cuda}")
    if machine.jetson:
        remedy = "in a container: docker run --runtime nvidia; else: sudo usermod -aG video,render $USER"
        return Finding("broken", "NVIDIA GPU", "CUDA finds none on this Jetson", remedy)
    detail = f"nvidia-smi lists {', '.join(machine.device.gpus)}, but CUDA finds none"
    remedy = "in a container: docker run --gpus all; after an update of the driver: sudo reboot"
    return Finding("broken", "NVIDIA GPU", detail, remedy)


def _sensors(machine: SystemFacts) -> Finding:
    """Check if a card's clocks, temperature and throttling can be read; every user can read those of a Jetson."""
    version = machine.library("nvidia-ml-py")
    if version is not None:
        return Finding("ok", "clocks and throttling", f"read by nvidia-ml-py {version}")
    detail = "not readable: benchmarks and metrics cannot report throttling"
    return Finding("missing", "clocks and throttling", detail, "pip install nvidia-ml-py")


def _tensorrt(machine: SystemFacts) -> Finding:
    module, library = machine.library("tensorrt"), _tensorrt_library(machine)
    version = module or library
    if version is None:
        remedy = "sudo apt install nvidia-jetpack" if machine.jetson else "pip install 'edgevision[tensorrt]'"
        return Finding("missing", "TensorRT", "not installed", remedy)
    if _dialect(version) is None:
        return Finding(
            "missing",
            "TensorRT",
            f"{version} is older than 8.6, the oldest that is supported",
            _newer(machine),
        )
    if module is None:
        return _module_out_of_reach(machine, version)
    if library is not None and version_numbers(module)[:3] != version_numbers(library)[:3]:
        detail = f"the Python module is {module}, the system's library {library}"
        remedy = (
            "pip uninstall -y tensorrt tensorrt-cu12 tensorrt-cu13, so that the system's own module is found"
        )
        return Finding("broken", "TensorRT", detail, remedy)
    if machine.gpu is not None and not supports_sm("tensorrt", version, machine.gpu.sm):
        detail = f"{version} builds nothing for {sm_text(machine.gpu.sm)}"
        return Finding(
            "broken", "TensorRT", detail, "edgevision run --engine onnxruntime, or another TensorRT"
        )
    return Finding("ok", "TensorRT", f"{module}: edgevision build BUNDLE")


def _module_out_of_reach(machine: SystemFacts, version: str) -> Finding:
    """The library is installed, but this Python cannot import its module."""
    here, theirs = _minor(machine.device.python), machine.system_python
    if theirs is not None and theirs != here:
        detail = f"the module of {version} is for the system's Python {theirs}; this is Python {here}"
        if version_numbers(theirs) < LEAST_PYTHON:
            return Finding("missing", "TensorRT", f"{detail}, and edgevision needs 3.10", _newer(machine))
        remedy = f"python{theirs} -m venv --system-site-packages .venv, and install edgevision into it"
        return Finding("missing", "TensorRT", detail, remedy)
    if machine.system_package("python3-libnvinfer") is None:
        detail = f"the library {version} is installed without its Python module"
        return Finding("missing", "TensorRT", detail, "sudo apt install python3-libnvinfer")
    detail = f"{version} is installed for the system; this virtual environment cannot import it"
    remedy = "python3 -m venv --system-site-packages .venv, and install edgevision into it"
    return Finding("missing", "TensorRT", detail, remedy)


def _cuda_runtime(machine: SystemFacts) -> Finding:
    """Compare libcudart, which TensorRT and TensorRT-RTX engines need, with the driver."""
    known = machine.gpu.cuda if machine.gpu else None
    driver = (*version_numbers(known), 0)[:2] if known else (0, 0)
    remedy = apt_command(*driver) if machine.jetson else f"pip install {pip_package(driver[0])}"
    found = machine.library("libcudart")
    if found is None:
        detail = "libcudart was not found; TensorRT engines need it"
        return Finding("missing", "CUDA runtime", detail, remedy)
    version, _, origin = found.partition(" ")
    if known and version_numbers(version)[0] > driver[0]:
        needed = version_numbers(version)[0]
        detail = f"{version} ({origin}) needs a driver for CUDA {needed}; this one supports {known}"
        return Finding("broken", "CUDA runtime", detail, remedy)
    return Finding("ok", "CUDA runtime", f"{version} ({origin})")


def _dla(machine: SystemFacts) -> list[Finding]:
    board, version = machine.device.board or "", machine.library("tensorrt") or _tensorrt_library(machine)
    row = _dialect(version) if version else None
    if row is None or not any(name in board for name in _WITH_DLA):
        return []
    if any(name in board for name in row.dla_modules):
        return [Finding("ok", "DLA", f"{row.label} builds for it: --device dla:0")]
    detail = f"TensorRT {version} does not support the DLA of this module"
    return [Finding("missing", "DLA", detail, "build without --device: the GPU runs everything")]


def _power(machine: SystemFacts) -> list[Finding]:
    """Check the power mode: speed depends on it, and a lower mode may be intentional."""
    match = re.fullmatch(r"(\S+) \((\d+)\)", machine.device.power_mode or "")
    if match is None or not machine.power_modes:
        remedy = "sudo nvpmodel -q; it is not available in a container"
        return [Finding("missing", "power mode", "not known", remedy)]
    best = max(machine.power_modes, key=_strength)
    known = ", ".join(mode.name for mode in machine.power_modes)
    if int(match[2]) == best.number:
        return [Finding("ok", "power mode", f"{match[1]}, the strongest of {known}")]
    remedy = f"sudo nvpmodel -m {best.number} && sudo jetson_clocks, if power and cooling allow"
    return [Finding("missing", "power mode", f"{match[1]}; {best.name} is the strongest of {known}", remedy)]


def _swap(machine: SystemFacts) -> list[Finding]:
    if machine.device.memory_mib > SMALL_MIB:
        return []
    if machine.swap_mib >= LEAST_SWAP_MIB:
        return [Finding("ok", "swap", f"{machine.swap_mib} MiB")]
    detail = f"{machine.device.memory_mib} MiB of memory, {machine.swap_mib} MiB of swap: a build may run out of memory"
    return [Finding("missing", "swap", detail, _SWAP)]


def _strength(mode: PowerMode) -> tuple[int, int, int]:
    """Sort key: uncapped modes first, then by watts, then by active cores."""
    uncapped = 2 if mode.name.startswith("MAXN_SUPER") else int(mode.name.startswith("MAXN"))
    watts, cores = re.search(r"(\d+)W", mode.name), re.search(r"(\d+)CORE", mode.name)
    return uncapped, int(watts[1]) if watts else 0, int(cores[1]) if cores else 0


def _tensorrt_library(machine: SystemFacts) -> str | None:
    """The version of apt's library: "10.3.0.30" for "10.3.0.30-1+cuda12.5"."""
    for name in ("libnvinfer11", "libnvinfer10", "libnvinfer8"):
        if version := machine.system_package(name):
            return version.split("-")[0]
    return None


def _newer(machine: SystemFacts) -> str:
    if "Orin" in (machine.device.board or ""):
        return "flash JetPack 6.2 or newer; until then: edgevision run --engine onnxruntime"
    if machine.jetson:
        return "this module has no newer JetPack: edgevision run --engine onnxruntime"
    return "update the driver and TensorRT; until then: edgevision run --engine onnxruntime"


def _dialect(version: str) -> Dialect | None:
    try:
        return dialect("tensorrt", version)
    except EngineError:
        return None


def _rtx(machine: SystemFacts) -> bool:
    return bool(machine.library("tensorrt-rtx-cu12") or machine.library("tensorrt-rtx-cu13"))


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
