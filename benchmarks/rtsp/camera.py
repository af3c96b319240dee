"""Client side of the test camera: start, kill, stop and restart its process, and send it commands."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevision.contract.image import Frame

PYTHON = "/usr/bin/python3"
"""The system's Python, because Debian's GStreamer modules are built for it."""
PACKAGES = "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
SERVER = Path(__file__).with_name("server.py")
CELLS = 24
"""The same value as in the server."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A line of the ledger: a sent frame and its time."""

    number: int
    at: float
    mode: str


class RtspCamera:
    """Serves `url`. Frame numbers continue across restarts with a gap, so that no two runs share a number."""

    def __init__(self, folder: Path, *, fps: int = 10, size: str = "320x240") -> None:
        self.ledger = folder / "ledger.txt"
        self.ledger.touch()
        self.fps = fps
        self.size = size
        self.port = free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/camera"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the server and wait until it listens."""
        number = max((pushed.number for pushed in self.pushed()), default=0) + 100
        command = [
            PYTHON,
            str(SERVER),
            str(self.port),
            str(self.ledger),
            str(number),
            str(self.fps),
            self.size,
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError("the RTSP server did not start")

    def send(self, command: str) -> None:
        """Send a command: `live`, `freeze`, `black` or `size WxH`."""
        if command.startswith("size "):
            self.size = command[5:]
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(f"{command}\n")
        process.stdin.flush()

    def kill(self) -> None:
        """Kill the process, like a power cut; a second call does nothing."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.communicate()
            self._process = None

    def hang(self) -> None:
        """Stop the process: its port stays open, and nothing responds."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process after `hang`."""
        self._running().send_signal(signal.SIGCONT)

    def pushed(self) -> list[Pushed]:
        """All frames sent by all runs of the server."""
        rows = (line.split() for line in self.ledger.read_text().splitlines())
        return [Pushed(int(row[0]), float(row[1]), row[2]) for row in rows if len(row) == 3]

    def __enter__(self) -> RtspCamera:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "the server is not running"
        return self._process


def is_installed() -> bool:
    """True if Debian's RTSP server is installed."""
    program = (
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')\n"
        "from gi.repository import Gst, GstRtspServer\n"
        "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('x264enc', 'rtph264pay')))"
    )
    with contextlib.suppress(OSError):
        return subprocess.run([PYTHON, "-c", program], capture_output=True, check=False).returncode == 0
    return False


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def read_number(frame_bgr: Frame) -> int | None:
    """The number in a frame, or None without a number with a valid checksum."""
    height, width = frame_bgr.shape[:2]
    cell = width // CELLS
    row = frame_bgr[height // 10, cell // 2 : cell * CELLS : cell, 1]
    code = int("".join("1" if level > 128 else "0" for level in np.asarray(row)), 2)
    number, check = code >> 8, code & 0xFF
    return number if check == (number * 167 + (number >> 8) * 59 + 91) & 0xFF else None


def wait_until(condition: Any, timeout_s: float) -> bool:
    """True if the condition becomes true within `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.02)
    return False
