"""A test camera: an RTSP server that puts a number into every frame and can be broken on purpose.

It runs on the system's Python with Debian's packages (`gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good
gstreamer1.0-plugins-ugly`), so it imports nothing else. It reads commands from standard input, one per line: `live`,
`freeze`, `black`, `size WxH`. Every pushed frame is a line of the ledger: number, seconds since 1970, mode.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  # the versions must be chosen first

CELLS = 24
"""16 bits of the number, then 8 of its checksum, from left to right in the upper fifth."""
LAUNCH = (
    "( appsrc name=frames is-live=true format=time do-timestamp=true"
    " ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=1500 key-int-max={gop} threads=1"
    " ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


def checksum(number: int) -> int:
    """Eight-bit checksum that detects a misread number."""
    return (number * 167 + (number >> 8) * 59 + 91) & 0xFF


def draw_frame(number: int, width: int, height: int) -> bytes:
    """An I420 frame: the number in black and white cells over moving stripes, with a little noise."""
    code = number << 8 | checksum(number)
    cell = width // CELLS
    row = b"".join((b"\xd0" if code >> (CELLS - 1 - n) & 1 else b"\x20") * cell for n in range(CELLS))
    top = height // 5
    coded = (row + b"\x70" * (width - len(row))) * top
    stripe = bytes(60 + (x // 8 + number) % 16 * 8 for x in range(width))
    noise = os.urandom(width)
    noisy = bytes(level + (grain & 7) for level, grain in zip(stripe, noise, strict=True))
    lines = b"".join(noisy[n % 13 :] + noisy[: n % 13] for n in range(height - top))
    return coded + lines + b"\x80" * (width * height // 2)


class Camera:
    """Pushes a frame every period into the current pipeline."""

    def __init__(self, fps: int, number: int, ledger: int, size_wh: tuple[int, int]) -> None:
        self.fps = fps
        self.number = number
        self.ledger = ledger
        self.size_wh = size_wh
        self.mode = "live"
        self.appsrc: Any = None
        self.last = draw_frame(number, *size_wh)

    def configure(self, _: object, media: Any) -> None:
        """Use the pipeline of a new client for all further frames."""
        self.appsrc = media.get_element().get_child_by_name("frames")
        self._announce()

    def execute(self, command: str) -> None:
        """Execute one command."""
        if command.startswith("size "):
            width, height = command[5:].split("x")
            self.size_wh = (int(width), int(height))
            self.last = draw_frame(self.number, *self.size_wh)
            self._announce()
        else:
            self.mode = command

    def push(self) -> bool:
        """Push the next frame, the last one again, or a black one."""
        if self.appsrc is None:
            return True
        width, height = self.size_wh
        if self.mode == "live":
            self.number = (self.number + 1) & 0xFFFF
            self.last = draw_frame(self.number, width, height)
        black = b"\x10" * (width * height) + b"\x80" * (width * height // 2)
        pixels = black if self.mode == "black" else self.last
        if self.appsrc.emit("push-buffer", Gst.Buffer.new_wrapped(pixels)) == Gst.FlowReturn.OK:
            os.write(self.ledger, f"{self.number} {time.time():.6f} {self.mode}\n".encode())
        return True

    def _announce(self) -> None:
        if self.appsrc is not None:
            width, height = self.size_wh
            caps = f"video/x-raw,format=I420,width={width},height={height},framerate={self.fps}/1"
            self.appsrc.set_property("caps", Gst.Caps.from_string(caps))


def main(port: str, ledger: str, number: str, fps: str, size: str) -> None:
    """Serve rtsp://127.0.0.1:PORT/camera until standard input ends."""
    Gst.init(None)
    width, height = size.split("x")
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    camera = Camera(int(fps), int(number), file, (int(width), int(height)))
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(LAUNCH.format(gop=camera.fps))
    factory.set_shared(True)
    factory.connect("media-configure", camera.configure)
    server.get_mount_points().add_factory("/camera", factory)
    if not server.attach(None):
        raise SystemExit(f"port {port} is not available")
    loop = GLib.MainLoop()

    def command(*_: object) -> bool:
        lines = os.read(0, 4096).decode().splitlines()
        for line in lines:
            camera.execute(line)
        if not lines:
            loop.quit()
        return bool(lines)

    GLib.io_add_watch(0, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, command)
    GLib.timeout_add(1000 // camera.fps, camera.push)
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
