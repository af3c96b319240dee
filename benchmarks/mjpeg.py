"""A Motion JPEG camera that disconnects repeatedly, in its own process.

``python -m benchmarks.mjpeg`` prints its address and serves until it is killed. Each connection lasts for `--up`
seconds; for the next `--down` seconds it accepts none. With `--frozen` it repeats one image.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from edgevision.sources.synthetic_camera import SyntheticCamera

PICTURES = 48


class Server(ThreadingHTTPServer):
    """HTTP server with the encoded images."""

    daemon_threads = True

    def __init__(
        self, fps: float, size_wh: tuple[int, int], up_s: float, down_s: float, *, frozen: bool
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.period_s, self.up_s, self.down_s = 1 / fps, up_s, down_s
        camera = SyntheticCamera(size_wh, cycle=PICTURES)
        count = 1 if frozen else PICTURES
        self.jpegs = [cv2.imencode(".jpg", image)[1].tobytes() for image in camera.frames(count)]
        self.shut_until_s = 0.0
        self.sent = 0


class Handler(BaseHTTPRequestHandler):
    """Handler of one connection."""

    server: Server

    def do_GET(self) -> None:
        """Send images at the frame rate, then close the connection."""
        server = self.server
        if time.monotonic() < server.shut_until_s:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        ends_s = time.monotonic() + server.up_s
        with contextlib.suppress(OSError):
            while time.monotonic() < ends_s:
                jpeg = server.jpegs[server.sent % len(server.jpegs)]
                server.sent += 1
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(server.period_s)
            server.shut_until_s = time.monotonic() + server.down_s

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def mjpeg_camera(
    fps: float,
    *,
    size_wh: tuple[int, int] = (320, 240),
    up_s: float = 1e9,
    down_s: float = 0.0,
    frozen: bool = False,
) -> Iterator[str]:
    """Start the camera and yield its address; the process is killed at the end."""
    size = f"{size_wh[0]}x{size_wh[1]}"
    options = ["--fps", str(fps), "--size", size, "--up", str(up_s), "--down", str(down_s)]
    options += ["--frozen"] if frozen else []
    command = [sys.executable, "-m", "benchmarks.mjpeg", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--up", type=float, default=1e9, help="duration of a connection in seconds")
    parser.add_argument("--down", type=float, default=0.0, help="pause after a connection in seconds")
    parser.add_argument("--frozen", action="store_true", help="send the same image each time")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    server = Server(arguments.fps, (width, height), arguments.up, arguments.down, frozen=arguments.frozen)
    print(f"http://127.0.0.1:{server.server_address[1]}/camera.mjpg", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
