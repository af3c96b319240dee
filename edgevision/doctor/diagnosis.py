"""Checks this machine's features and names the fix for each problem."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgevision.device.facts import DeviceFacts
from edgevision.device.opencv_build import GUI_REMEDY, OpenCvBuild, why_no_window

Status = Literal["ok", "missing", "broken"]

LEAST_CACHE_MIB = 1024
LEAST_MEMORY_MIB = 1024
EXPORT_PACKAGES = ("torch", "onnx", "onnxscript", "onnxslim", "safetensors")
LOOKED_FOR = (*EXPORT_PACKAGES, "pycocotools", "onnxruntime", "av")
"""Modules that the checks look for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. "missing": a feature is not available; "broken": an installed part cannot work."""

    status: Status
    what: str
    detail: str
    remedy: str | None = None
    """A command or an instruction; None if nothing is wrong."""


Installed = Callable[[str], bool]


def is_importable(module: str) -> bool:
    """True if the module can be found; it is not imported."""
    return importlib.util.find_spec(module) is not None


def diagnose_engines(device: DeviceFacts, installed: Installed = is_importable) -> list[Finding]:
    """Check the engine libraries, by installed distributions."""
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
                f"{name} is installed but has no files: the removal of another distribution deleted them",
                f"pip install --force-reinstall --no-deps {name}",
            )
        )
    else:
        findings.append(
            Finding("ok", "onnxruntime", f"onnxruntime-gpu {gpu}" if gpu else f"onnxruntime {cpu}")
        )
    # Neither is made for a Jetson, where TensorRT is checked instead.
    others = () if device.l4t else (("openvino", "openvino"), ("tensorrt-rtx-cu12", "tensorrt-rtx"))
    for name, extra in others:
        if name in versions:
            findings.append(Finding("ok", name, versions[name]))
        else:
            findings.append(Finding("missing", name, "not installed", f"pip install 'edgevision[{extra}]'"))
    if not versions.keys() & {"onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt"}:
        findings.append(
            Finding(
                "broken", "engines", "none is installed; models cannot run", "pip install 'edgevision[cpu]'"
            )
        )
    return findings


def diagnose_opencv(
    build: OpenCvBuild, packages: Sequence[str], *, jetson: bool, environ: Mapping[str, str] = os.environ
) -> list[Finding]:
    """Check videos, cameras and windows, by the build options of OpenCV."""
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
    reason = why_no_window(build, environ)
    if reason is None:
        findings.append(Finding("ok", "windows (--show)", build.gui or ""))
    else:
        remedy = GUI_REMEDY if build.gui is None else "export DISPLAY=:0"
        findings.append(Finding("missing", "windows (--show)", reason.split(";")[0], remedy))
    if build.gstreamer:
        findings.append(Finding("ok", "GStreamer", "OpenCV can open pipelines, so CSI cameras too"))
    else:
        remedy = (
            "sudo apt install gstreamer1.0-tools; or pip uninstall opencv-python opencv-python-headless;"
            " sudo apt install python3-opencv (JetPack's has it)"
            if jetson
            else "sudo apt install gstreamer1.0-tools; USB cameras, files and addresses do not need it"
        )
        detail = "OpenCV was built without it: csi:// and gst: go through gst-launch-1.0"
        findings.append(Finding("missing", "GStreamer", detail, remedy))
    return findings


def diagnose_cameras(cameras: Sequence[str], closed: Sequence[str]) -> list[Finding]:
    """Check Linux video devices, and the permissions of this user."""
    if not cameras:
        remedy = "plug one in; in a container: docker run --device /dev/video0"
        return [Finding("missing", "cameras", "no /dev/video* found", remedy)]
    if closed:
        remedy = "sudo usermod -aG video $USER, then log in again"
        return [Finding("broken", "cameras", f"this user may not use {', '.join(closed)}", remedy)]
    return [Finding("ok", "cameras", ", ".join(cameras))]


def diagnose_network(build: OpenCvBuild, installed: Installed = is_importable) -> Finding:
    """Check the reader of rtsp:// and http:// cameras."""
    what, remedy = "network cameras", "pip install 'edgevision[rtsp]'"
    if installed("av"):
        return Finding("ok", what, "PyAV reads them, with capture timestamps")
    if build.ffmpeg:
        detail = "OpenCV reads them, without capture timestamps; PyAV provides these"
        return Finding("missing", what, detail, remedy)
    return Finding("missing", what, "neither PyAV nor an OpenCV with FFmpeg is installed", remedy)


def diagnose_decoder(chosen: str | None, reason: str) -> Finding:
    """Report the hardware decoder `chosen` by the probe, None for software, and its reason."""
    _, found, command = reason.rpartition(": sudo ")
    if chosen is None and found:
        return Finding("missing", "video decoder", reason, f"sudo {command}")
    return Finding("ok", "video decoder", reason)


def diagnose_export(installed: Installed = is_importable) -> list[Finding]:
    """Check the packages that export, adopt and eval need in addition."""
    absent = [name for name in EXPORT_PACKAGES if not installed(name)]
    findings = [
        Finding(
            "missing", "export", f"not installed: {', '.join(absent)}", "pip install 'edgevision[export,cpu]'"
        )
        if absent
        else Finding("ok", "export", "torch, onnx and the other packages are installed")
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


def diagnose_room(memory_mib: int, cache: str, free_mib: int, *, writable: bool) -> list[Finding]:
    """Check memory, and free space of the cache folder."""
    findings = []
    if not writable:
        remedy = "export EDGEVISION_CACHE=DIR, a folder that this user may write"
        findings.append(Finding("broken", "cache", f"{cache} is not writable", remedy))
    elif free_mib < LEAST_CACHE_MIB:
        remedy = "export EDGEVISION_CACHE=DIR, on a disk with more free space"
        findings.append(Finding("broken", "cache", f"{cache}: {free_mib} MiB free", remedy))
    else:
        findings.append(Finding("ok", "cache", f"{cache}: {free_mib} MiB free"))
    if 0 < memory_mib < LEAST_MEMORY_MIB:
        remedy = "close other programs, or add swap: sudo fallocate -l 4G /swapfile"
        findings.append(Finding("missing", "memory", f"{memory_mib} MiB in total", remedy))
    return findings
