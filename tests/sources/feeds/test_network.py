"""Addresses by PyAV and by OpenCV, from an HTTP server of Motion JPEG."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.sources.backoff import Backoff
from edgevision.sources.feeds.capture import open_address
from edgevision.sources.feeds.feed import Feed
from edgevision.sources.feeds.network import NetworkFeed, SegmentPacer
from edgevision.sources.live import LiveSource
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions

OPTIONS = CameraOptions(read_timeout_s=2.0, backoff=Backoff(0.05, 0.1))


class MjpegServer(ThreadingHTTPServer):
    """Each connection gets `count` pictures, 20 a second; then it is closed, or hangs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.count = 1000
        self.hangs = False
        self.over = threading.Event()
        self.sent = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/camera.mjpg"


class Handler(BaseHTTPRequestHandler):
    server: MjpegServer

    def do_GET(self) -> None:
        if self.path.endswith(".ts"):
            self._send_transport_stream()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for _ in range(self.server.count):
                if self.server.over.wait(0.05):
                    return
                self.server.sent += 1
                picture = np.full((48, 64, 3), 60, np.uint8)
                picture[:, self.server.sent % 60 : self.server.sent % 60 + 4] = 220
                jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            if self.server.hangs:
                self.server.over.wait(20)
        except OSError:
            pass

    def _send_transport_stream(self) -> None:
        """H.264 with one key frame, at its start; frame n is grey of about level 40 + n."""
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        output: Any = self.wfile
        with contextlib.suppress(OSError, av.FFmpegError), av.open(output, "w", format="mpegts") as sent:
            stream: Any = sent.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 1000
            stream.options = {"tune": "zerolatency", "x264-params": "scenecut=0:log-level=none"}
            for number in range(self.server.count):
                if self.server.over.wait(0.04):
                    return
                picture = np.full((48, 64, 3), 40 + number, np.uint8)
                sent.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))

    def log_message(self, format: str, *args: object) -> None:
        """Not on the tests' output."""


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    made = MjpegServer()
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.over.set()
    made.shutdown()
    thread.join()
    made.server_close()


def test_motion_jpeg_is_read_as_it_arrives(server: MjpegServer) -> None:
    with open_source(server.url, OPTIONS) as source:
        assert (source.live, source.size_wh, source.name) == (True, (64, 48), server.url)
        frames = [source.read() for _ in range(5)]
    for frame in frames:
        assert frame is not None
        assert frame.image_bgr.flags.writeable
        assert frame.image_bgr.flags.c_contiguous
        assert frame.clock == "arrival"
        assert int(frame.image_bgr.min()) == pytest.approx(60, abs=12)
        assert int(frame.image_bgr.max()) == pytest.approx(220, abs=20)
    ages_s = [(time.perf_counter_ns() - frame.captured_ns) / 1e9 for frame in frames if frame is not None]
    assert ages_s == sorted(ages_s, reverse=True)
    assert abs(frames[-1].captured_at - time.time()) < 5 if frames[-1] else False


def test_the_first_key_frame_of_a_stream_is_not_lost(server: MjpegServer) -> None:
    server.count = 150
    url = server.url.replace("camera.mjpg", "camera.ts")
    feed = NetworkFeed(url, connect_timeout_s=5.0, read_timeout_s=2.0, transport="tcp", decoder="software")
    levels = [float(feed.read().image_bgr.mean()) for _ in range(8)]
    feed.close()
    assert levels[0] == pytest.approx(40, abs=4)  # compressed and converted
    assert [level - levels[0] for level in levels] == pytest.approx(range(8), abs=1.5)


def test_a_server_that_hangs_up_is_called_again(server: MjpegServer) -> None:
    server.count = 12
    with open_source(server.url, OPTIONS) as source:
        while source.health.reconnects < 2:
            assert source.read() is not None
        health = source.health
    assert health.outages >= 2
    assert health.last_outage is not None
    # Without a length, FFmpeg takes the end of a body for a fault of the line.
    assert health.last_outage.reason in ("the stream ended", "Input/output error")


def test_a_silent_server_ends_with_the_time_out(server: MjpegServer) -> None:
    server.count, server.hangs = 12, True
    feed = NetworkFeed(server.url, connect_timeout_s=5.0, read_timeout_s=0.8, transport="tcp")
    waits_s = []
    with pytest.raises(SourceError, match=r"^no data within 0\.8 s$"):
        while True:
            began_s = time.monotonic()
            feed.read()
            waits_s.append(time.monotonic() - began_s)
    feed.close()
    # What FFmpeg held back until the time-out is not handed on, so old as it is.
    assert max(waits_s) < 0.75
    assert 0.7 < time.monotonic() - began_s < 5


def test_an_invalid_video_is_refused_without_the_password(server: MjpegServer) -> None:
    server.count = 0
    with pytest.raises(SourceError) as caught:
        open_source(server.url.replace("127", "user:secret@127"), OPTIONS)
    assert str(caught.value).startswith(f"{server.url} delivers no frames: ")
    assert "secret" not in str(caught.value)


def test_opencv_reads_addresses_where_pyav_is_not_installed(server: MjpegServer) -> None:
    connect: functools.partial[Feed] = functools.partial(
        open_address, server.url, connect_timeout_s=5.0, read_timeout_s=5.0
    )
    with LiveSource("c", connect, OPTIONS) as source:
        frame = source.read()
    assert frame is not None
    assert (frame.size_wh, frame.clock) == ((64, 48), "arrival")
    with pytest.raises(SourceError, match="no connection within 1 s, or the address has no video"):
        open_address("http://127.0.0.1:9/x", connect_timeout_s=1.0, read_timeout_s=1.0)


def test_frames_of_segments_are_paced_by_their_time_stamps() -> None:
    pace = SegmentPacer()
    # Two pictures a second come four at once; the second segment comes 0.5 s late.
    assert [pace.wait_s(stamp_s, 100.0) for stamp_s in (7.0, 7.5, 8.0, 8.5)] == [0.0, 0.5, 1.0, 1.5]
    assert [pace.wait_s(stamp_s, 102.5) for stamp_s in (9.0, 9.5)] == [0.0, 0.5]
    assert pace.wait_s(900.0, 102.5) == 0.0
