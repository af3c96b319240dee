"""What works on this machine, what does not, and the command that mends it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevision.device import DeviceFacts
from edgevision.opencv_build import GUI_REMEDY, OpenCvBuild, why_no_window

Status = Literal["ok", "missing", "broken"]

LEAST_CACHE_MIB = 1024
LEAST_MEMORY_MIB = 1024
EXPORT_PACKAGES = ("torch", "onnx", "onnxscript", "onnxslim", "safetensors")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. "missing": a feature is not available; "broken": what is there cannot work."""

    status: Status
    what: str
    detail: str
    remedy: str | None = None
    """A command, or what to do; None where nothing is amiss."""


Installed = Callable[[str], bool]


def is_importable(module: str) -> bool:
    """True if the module could be found; it is not imported."""
    return importlib.util.find_spec(module) is not None


def diagnose_engines(device: DeviceFacts, installed: Installed = is_importable) -> list[Finding]:
    """The engine libraries, by the distributions that are installed."""
    versions = {fact.name: fact.value for fact in device.libraries}
    findings = []
    cpu, gpu = versions.get("onnxruntime"), versions.get("onnxruntime-gpu")
    if cpu and gpu:
        extra = "gpu" if device.gpus else "cpu"
        findings.append(
            Finding(
                "broken",
                "onnxruntime",
                f"onnxruntime {cpu} and onnxruntime-gpu {gpu} are both installed and overwrite each other's files",
                f"pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'edgevision[{extra}]'",
            )
        )
    elif not (cpu or gpu):
        findings.append(Finding("missing", "onnxruntime", "not installed", "pip install 'edgevision[cpu]'"))
    elif not installed("onnxruntime"):
        name = "onnxruntime-gpu" if gpu else "onnxruntime"
        findings.append(
            Finding(
                "broken",
                "onnxruntime",
                f"{name} is installed but has no files: another distribution took them along when it was removed",
                f"pip install --force-reinstall --no-deps {name}",
            )
        )
    else:
        findings.append(
            Finding("ok", "onnxruntime", f"onnxruntime-gpu {gpu}" if gpu else f"onnxruntime {cpu}")
        )
    for name, extra in (("openvino", "openvino"), ("tensorrt-rtx-cu12", "tensorrt-rtx")):
        if name in versions:
            findings.append(Finding("ok", name, versions[name]))
        else:
            findings.append(Finding("missing", name, "not installed", f"pip install 'edgevision[{extra}]'"))
    if not (cpu or gpu or "openvino" in versions):
        findings.append(
            Finding(
                "broken", "engines", "none is installed: nothing can run", "pip install 'edgevision[cpu]'"
            )
        )
    return findings


def diagnose_opencv(build: OpenCvBuild, packages: Sequence[str], *, jetson: bool) -> list[Finding]:
    """Videos, cameras and windows, by how OpenCV was built."""
    names = [package.split()[0] for package in packages]
    detail = f"{build.version} ({', '.join(packages) or 'not from pip'})"
    if len(packages) > 1:
        remedy = f"pip uninstall -y {' '.join(names)} && pip install {names[0]}"
        findings = [
            Finding(
                "broken", "OpenCV", f"{detail}: several distributions overwrite each other's files", remedy
            )
        ]
    else:
        findings = [Finding("ok", "OpenCV", detail)]
    if build.ffmpeg:
        findings.append(Finding("ok", "video files", "OpenCV reads and writes them with FFmpeg"))
    else:
        remedy = "pip install opencv-python-headless, whose wheels hold FFmpeg"
        findings.append(Finding("missing", "video files", "this OpenCV has no FFmpeg", remedy))
    reason = why_no_window(build)
    if reason is None:
        findings.append(Finding("ok", "windows (--show)", build.gui or ""))
    else:
        remedy = GUI_REMEDY if build.gui is None else "export DISPLAY=:0"
        findings.append(Finding("missing", "windows (--show)", reason.split(";")[0], remedy))
    if build.gstreamer:
        findings.append(Finding("ok", "GStreamer", "OpenCV can open pipelines, so CSI cameras too"))
    else:
        remedy = (
            "pip uninstall opencv-python opencv-python-headless; sudo apt install python3-opencv (JetPack's has it)"
            if jetson
            else "build OpenCV with -D WITH_GSTREAMER=ON; USB cameras and files do not need it"
        )
        findings.append(
            Finding("missing", "GStreamer", "OpenCV was built without it: no CSI cameras", remedy)
        )
    return findings


def diagnose_cameras(devices: Path = Path("/dev")) -> list[Finding]:
    """The video devices of Linux, and whether this user may read them."""
    if sys.platform != "linux":
        return []
    cameras = sorted(devices.glob("video[0-9]*"))
    if not cameras:
        remedy = "plug one in; in a container: docker run --device /dev/video0"
        return [Finding("missing", "cameras", f"there is no {devices}/video*", remedy)]
    closed = [camera for camera in cameras if not os.access(camera, os.R_OK | os.W_OK)]
    if closed:
        names = ", ".join(map(str, closed))
        remedy = "sudo usermod -aG video $USER, then log in again"
        return [Finding("broken", "cameras", f"this user may not use {names}", remedy)]
    return [Finding("ok", "cameras", ", ".join(map(str, cameras)))]


def diagnose_gpu(device: DeviceFacts) -> list[Finding]:
    """A GPU, and whether the engine that is installed could use it."""
    if not device.gpus and device.l4t is None:
        return [Finding("missing", "NVIDIA GPU", "nvidia-smi lists none; everything runs on the CPU")]
    name = ", ".join(device.gpus) or device.board or "Jetson"
    libraries = {fact.name for fact in device.libraries}
    if libraries & {"onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu12", "tensorrt-rtx-cu13"}:
        return [Finding("ok", "NVIDIA GPU", name)]
    remedy = "pip uninstall -y onnxruntime; pip install 'edgevision[gpu]'"
    return [Finding("missing", "NVIDIA GPU", f"{name}, but no engine that uses it", remedy)]


def diagnose_export(installed: Installed = is_importable) -> list[Finding]:
    """What export, adopt and eval need beyond running."""
    absent = [name for name in EXPORT_PACKAGES if not installed(name)]
    findings = [
        Finding(
            "missing", "export", f"not installed: {', '.join(absent)}", "pip install 'edgevision[export,cpu]'"
        )
        if absent
        else Finding("ok", "export", "torch, onnx and what else it needs")
    ]
    if installed("pycocotools"):
        findings.append(Finding("ok", "eval", "pycocotools"))
    else:
        findings.append(
            Finding(
                "missing",
                "eval",
                "COCO metrics: not installed: pycocotools",
                "pip install 'edgevision[eval]'",
            )
        )
    return findings


def diagnose_room(device: DeviceFacts, cache: Path) -> list[Finding]:
    """Memory, and space where downloads go."""
    findings = []
    place = next(parent for parent in (cache, *cache.absolute().parents) if parent.exists())
    free_mib = shutil.disk_usage(place).free // 2**20
    if not os.access(place, os.W_OK):
        remedy = "export EDGEVISION_CACHE=DIR, a folder that this user may write"
        findings.append(Finding("broken", "cache", f"{cache} cannot be written", remedy))
    elif free_mib < LEAST_CACHE_MIB:
        remedy = "export EDGEVISION_CACHE=DIR, on a disk with more room"
        findings.append(Finding("broken", "cache", f"{cache}: {free_mib} MiB free", remedy))
    else:
        findings.append(Finding("ok", "cache", f"{cache}: {free_mib} MiB free"))
    if 0 < device.memory_mib < LEAST_MEMORY_MIB:
        remedy = "close other programs, or add swap: sudo fallocate -l 4G /swapfile"
        findings.append(Finding("missing", "memory", f"{device.memory_mib} MiB in all", remedy))
    return findings
