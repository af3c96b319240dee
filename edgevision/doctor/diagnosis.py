"""What works on this machine, what does not, and the command that mends it."""

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
"""Modules that something here asks for."""


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
    # Neither is made for a Jetson: there TensorRT is looked for.
    others = () if device.l4t else (("openvino", "openvino"), ("tensorrt-rtx-cu12", "tensorrt-rtx"))
    for name, extra in others:
        if name in versions:
            findings.append(Finding("ok", name, versions[name]))
        else:
            findings.append(Finding("missing", name, "not installed", f"pip install 'edgevision[{extra}]'"))
    if not versions.keys() & {"onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt"}:
        findings.append(
            Finding(
                "broken", "engines", "none is installed: nothing can run", "pip install 'edgevision[cpu]'"
            )
        )
    return findings


def diagnose_opencv(
    build: OpenCvBuild, packages: Sequence[str], *, jetson: bool, environ: Mapping[str, str] = os.environ
) -> list[Finding]:
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
    """The video devices of Linux, and those of them that this user may not open."""
    if not cameras:
        remedy = "plug one in; in a container: docker run --device /dev/video0"
        return [Finding("missing", "cameras", "there is no /dev/video*", remedy)]
    if closed:
        remedy = "sudo usermod -aG video $USER, then log in again"
        return [Finding("broken", "cameras", f"this user may not use {', '.join(closed)}", remedy)]
    return [Finding("ok", "cameras", ", ".join(cameras))]


def diagnose_network(build: OpenCvBuild, installed: Installed = is_importable) -> Finding:
    """Cameras by rtsp:// and http://, and what reads them."""
    what, remedy = "network cameras", "pip install 'edgevision[rtsp]'"
    if installed("av"):
        return Finding("ok", what, "PyAV reads them, and knows when their pictures were taken")
    if build.ffmpeg:
        detail = "without PyAV OpenCV reads them; when their pictures were taken is not known"
        return Finding("missing", what, detail, remedy)
    return Finding("missing", what, "neither PyAV nor an OpenCV with FFmpeg is there", remedy)


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


def diagnose_room(memory_mib: int, cache: str, free_mib: int, *, writable: bool) -> list[Finding]:
    """Memory, and space where downloads go."""
    findings = []
    if not writable:
        remedy = "export EDGEVISION_CACHE=DIR, a folder that this user may write"
        findings.append(Finding("broken", "cache", f"{cache} cannot be written", remedy))
    elif free_mib < LEAST_CACHE_MIB:
        remedy = "export EDGEVISION_CACHE=DIR, on a disk with more room"
        findings.append(Finding("broken", "cache", f"{cache}: {free_mib} MiB free", remedy))
    else:
        findings.append(Finding("ok", "cache", f"{cache}: {free_mib} MiB free"))
    if 0 < memory_mib < LEAST_MEMORY_MIB:
        remedy = "close other programs, or add swap: sudo fallocate -l 4G /swapfile"
        findings.append(Finding("missing", "memory", f"{memory_mib} MiB in all", remedy))
    return findings
