"""A network camera that repeats an encoded clip at its frame rate, in a separate process.

``python -m benchmarks.clip_camera CLIP`` prints its address: MPEG-TS over HTTP, with a stream of its own for each
connection. The packets are sent as they are, so that the server's CPU time is small.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from edgevision.contract.image import Frame

SIZE_WH = (1920, 1080)
FPS = 15
CODECS = {"h264": "libx264", "h265": "libx265"}
BIT_RATES = {"h264": 3_000_000, "h265": 2_000_000}
NOISE = 2.0
"""Standard deviation of the noise of the sensor, in levels."""


class Handler(BaseHTTPRequestHandler):
    """Handler of one connection."""

    clip: Path

    def do_GET(self) -> None:
        """Send the clip until the client leaves."""
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        with contextlib.suppress(OSError, av.FFmpegError):
            self._play()

    def _play(self) -> None:
        output: Any = self.wfile
        with av.open(str(self.clip)) as clip, av.open(output, "w", format="mpegts") as sent:
            source = clip.streams.video[0]
            packets = [packet for packet in clip.demux(source) if packet.dts is not None]
            stream = sent.add_stream_from_template(source)
            period = packets[1].dts - packets[0].dts  # type: ignore[operator]  # of a clip that was just encoded
            began_s = time.monotonic()
            number = 0
            while True:
                for packet in packets:
                    time.sleep(max(began_s + number / FPS - time.monotonic(), 0))
                    again = av.Packet(bytes(packet))
                    again.stream, again.time_base = stream, packet.time_base
                    again.dts = number * period
                    again.pts = again.dts + (packet.pts - packet.dts)  # type: ignore[operator]  # as above
                    again.is_keyframe = packet.is_keyframe
                    sent.mux(again)
                    number += 1

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def clip_camera(clip: Path) -> Iterator[str]:
    """Serve the clip in a process; gives the address."""
    command = [sys.executable, "-m", "benchmarks.clip_camera", str(clip)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def encode_clip(video: Path, target: Path, codec: str, *, frames: int = 90, b_frames: int = 0) -> None:
    """Encode frames of a video as a fixed camera would: scaled to `SIZE_WH`, with noise, and without B-frames."""
    rng = np.random.default_rng(0)
    with av.open(str(target), "w") as output:
        stream: Any = output.add_stream(CODECS[codec], rate=FPS)
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt, stream.bit_rate, stream.gop_size = "yuv420p", BIT_RATES[codec], 2 * FPS
        stream.options = {"preset": "ultrafast" if codec == "h265" else "veryfast", "tune": "zerolatency"}
        if b_frames:
            del stream.options["tune"]
            stream.options |= (
                {"bf": str(b_frames)} if codec == "h264" else {"x265-params": f"bframes={b_frames}"}
            )
        if codec == "h264":
            stream.options |= {"x264-params": "sliced-threads=0:threads=1"}
        for image in _images(video, frames):
            noise = rng.normal(0, NOISE, (SIZE_WH[1], SIZE_WH[0], 1))
            noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, "bgr24")))
        output.mux(stream.encode())


def _images(video: Path, count: int) -> Iterator[Frame]:
    capture = cv2.VideoCapture(str(video))
    for _ in range(count):
        read, image = capture.read()
        if not read:
            break
        yield np.asarray(cv2.resize(image, SIZE_WH, interpolation=cv2.INTER_CUBIC), np.uint8)
    capture.release()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    Handler.clip = parser.parse_args().clip
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}/camera", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
