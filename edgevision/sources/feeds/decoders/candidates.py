"""Hardware decoders of this machine, and why one cannot be used."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.device.facts import ROOT, l4t_version
from edgevision.errors import SourceError
from edgevision.sources.feeds.launched import LAUNCHER, PACKAGES, pipeline_words

if TYPE_CHECKING:
    from edgevision.sources.feeds.decoders.decoder import Decoder, StreamKind

INSPECTOR = "gst-inspect-1.0"
INSPECT_S = 10.0
"""GStreamer scans all plugins on the first call after an installation."""
KMOD = "sudo apt install kmod"


@dataclass(frozen=True, slots=True)
class DecoderCandidate:
    """A hardware decoder: elements of GStreamer, or a hardware acceleration of FFmpeg."""

    name: str
    elements: str | None = None
    """Part of a GStreamer pipeline from the parsed stream to frames in main memory."""
    accelerator: str | None = None
    """Name of an acceleration of FFmpeg."""
    runs_lsmod: bool = False
    """NVIDIA's plugin on a Jetson runs ``lsmod``. Without that program, as in many containers, it treats the board as
    a discrete GPU and delivers nothing.
    """

    def open(self, kind: StreamKind, *, live: bool) -> Decoder:
        """Open it for a stream; raises `SourceError`."""
        # imported here because PyAV belongs to an extra, and machines without hardware do not need it for files
        from edgevision.sources.feeds.decoders.decoder import PyAvDecoder
        from edgevision.sources.feeds.decoders.launched import LaunchedDecoder

        if self.elements is not None:
            return LaunchedDecoder(kind, self.elements, ahead=0 if live else FILE_AHEAD)
        return PyAvDecoder(kind, self.accelerator, live=live)

    def missing(self) -> str | None:
        """The program or element that is not installed, with the fix; None if all are."""
        if self.elements is None:
            return None
        if shutil.which(LAUNCHER) is None:
            return f"{LAUNCHER} is not installed: {PACKAGES}"
        for element in _element_names(self.elements):
            if not has_element(element):
                return f"GStreamer has no element {element}"
        return plugin_problem() if self.runs_lsmod else None


@dataclass(frozen=True, slots=True)
class DecoderChoice:
    """The decoder to use, None for software, and the reason in one line."""

    candidate: DecoderCandidate | None
    reason: str


FILE_AHEAD = 4
"""Frames that a decoder in another process may hold while a file is read or speed is measured."""
JETSON = DecoderCandidate(
    "nvv4l2decoder", "nvv4l2decoder enable-max-performance=true ! nvvidconv", runs_lsmod=True
)
NVIDIA = DecoderCandidate("cuda", accelerator="cuda")


def candidates_here(root: Path = ROOT) -> tuple[DecoderCandidate, ...]:
    """The hardware decoders that edgevision can use on this machine; may be empty."""
    if l4t_version(root) is not None:
        return (JETSON,)
    return (NVIDIA,) if (root / "dev/nvidiactl").exists() else ()


def plugin_problem() -> str | None:
    """The reason why NVIDIA's GStreamer plugin delivers nothing on a Jetson; None if it may work."""
    if shutil.which("lsmod") is None:
        return f"NVIDIA's plugin needs the program lsmod to recognise a Jetson: {KMOD}"
    return None


@functools.cache
def has_element(name: str) -> bool:
    """True if GStreamer has the element; False also after a time-out."""
    inspector = shutil.which(INSPECTOR)
    if inspector is None:
        return False
    try:
        done = subprocess.run([inspector, "--exists", name], capture_output=True, timeout=INSPECT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _element_names(elements: str) -> list[str]:
    """First words of the parts of a pipeline; caps such as video/x-raw are no elements."""
    parts = " ".join(pipeline_words(elements)).split("!")
    names = [part.split()[0] for part in parts if part.split()]
    if not names:
        raise SourceError(f"the pipeline {elements!r} has no element")
    return [name for name in names if re.fullmatch(r"[A-Za-z0-9_]+", name)]
