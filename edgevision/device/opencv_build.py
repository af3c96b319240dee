"""Reports the features of the installed OpenCV build, and silences its log."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2

GUI_REMEDY = "pip uninstall opencv-python-headless && pip install opencv-python"


@dataclass(frozen=True, slots=True)
class OpenCvBuild:
    """The parts of OpenCV that differ between builds."""

    version: str
    gui: str | None
    """The windowing library; None for a headless build."""
    ffmpeg: bool
    gstreamer: bool
    v4l: bool

    @classmethod
    def here(cls) -> OpenCvBuild:
        """The imported OpenCV."""
        return cls.from_text(cv2.__version__, cv2.getBuildInformation())

    @classmethod
    def from_text(cls, version: str, build_information: str) -> OpenCvBuild:
        """Parse the text of ``cv2.getBuildInformation()``."""
        gui = _gui(build_information)
        return cls(
            version,
            gui,
            _enabled(build_information, "FFMPEG"),
            _enabled(build_information, "GStreamer"),
            _enabled(build_information, "v4l/v4l2"),
        )


def why_no_window(build: OpenCvBuild, environ: Mapping[str, str] = os.environ) -> str | None:
    """The reason why no window can be shown, with the fix; None if one can.

    Call it before opening a window: without a display, a Qt build ends the whole process.
    """
    if build.gui is None:
        return f"this OpenCV ({build.version}) was built without windows; install the one with: {GUI_REMEDY}"
    if sys.platform == "linux" and not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        return "no display: neither DISPLAY nor WAYLAND_DISPLAY is set; run on the desktop or with ssh -X"
    return None


def opencv_packages() -> tuple[str, ...]:
    """Installed distributions that provide ``cv2``, with versions; several overwrite each other's files."""
    names = (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    )
    found = []
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return tuple(found)


class _Quiet:
    """Number of threads inside `quiet_opencv`, and the log level to restore after the last one."""

    lock = threading.Lock()
    inside = 0
    level_before = 0


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silence OpenCV's log on standard error; our own errors report failures instead.

    Several threads may enter at the same time: the level belongs to the process, and the last one to leave restores it.
    """
    # The function moved: `cv2` itself up to 4.12, `cv2.utils.logging` after that.
    control = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    with _Quiet.lock:
        if _Quiet.inside == 0:
            _Quiet.level_before = control.getLogLevel()
            control.setLogLevel(0)
        _Quiet.inside += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.inside -= 1
            if _Quiet.inside == 0:
                control.setLogLevel(_Quiet.level_before)


def _enabled(text: str, name: str) -> bool:
    return re.search(rf"^\s*{re.escape(name)}:\s+YES", text, re.MULTILINE) is not None


def _gui(text: str) -> str | None:
    match = re.search(r"^\s*GUI:[ \t]*(\S*)", text, re.MULTILINE)
    if match is None or match[1] == "NONE":
        return None
    if match[1] and match[1] != "YES":
        return match[1]
    known = re.search(r"^\s*(GTK\+|QT|Cocoa|Win32 UI|Wayland):\s+YES", text, re.MULTILINE | re.IGNORECASE)
    return known[1] if known else None
