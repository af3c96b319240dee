"""HTTP addresses: files return every frame and end, images are images, streams are live."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.errors import SourceError
from edgevision.sources.feeds import http_content
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions

FRAMES = 20
QUICK = CameraOptions(connect_timeout_s=5, read_timeout_s=2, first_frame_s=5)


def level(index: int) -> int:
    return 20 + 10 * index


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MP4 whose index is at its end, and whose frames encode their number as brightness."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for index in range(FRAMES):
        writer.write(np.full((48, 64, 3), level(index), np.uint8))
    writer.release()
    data = path.read_bytes()
    assert data.index(b"moov") > data.index(b"mdat")
    return path


class Server:
    """Serves one content; `ranges` decides whether parts of it are served."""

    def __init__(self) -> None:
        self.content: dict[str, tuple[str, bytes]] = {}
        self.ranges = True
        self.say_length = True
        self.requests: list[tuple[str, str | None]] = []
        self.redirect: dict[str, str] = {}
        self.needs: str | None = None


@contextmanager
def serving() -> Iterator[tuple[Server, str]]:
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            server.requests.append((path, self.headers.get("Range")))
            if server.needs is not None and self.headers.get("Authorization") != server.needs:
                self.send_error(401)
                return
            if path in server.redirect:
                self.send_response(302)
                self.send_header("Location", server.redirect[path])
                self.end_headers()
                return
            if path not in server.content:
                self.send_error(404)
                return
            kind, data = server.content[path]
            self.answer(kind, data)

        def answer(self, kind: str, data: bytes) -> None:
            asked = self.headers.get("Range")
            if server.ranges and asked:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                begin, end = int(first), min(int(last) if last else len(data) - 1, len(data) - 1)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{end}/{len(data)}")
                data = data[begin : end + 1]
            else:
                self.send_response(200)
            if server.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", kind)
            if server.say_length:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(data)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as daemon:
        thread = threading.Thread(target=daemon.serve_forever, daemon=True)
        thread.start()
        try:
            yield server, f"127.0.0.1:{daemon.server_address[1]}"
        finally:
            daemon.shutdown()
            thread.join()


def levels(text: str) -> list[int]:
    with open_source(text, QUICK) as source:
        assert not source.live
        return [round(float(frame.image_bgr.mean())) for frame in source]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("kind", ["video/mp4", "application/octet-stream"])
@pytest.mark.parametrize("name", ["clip.mp4", "download"])
def test_a_file_has_every_frame_in_order_and_an_end(
    clip: Path, ranges: bool, kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving() as (server, host):
        server.ranges = ranges
        server.content[f"/{name}"] = (kind, clip.read_bytes())
        found = levels(f"http://{host}/{name}?token=1")
    assert found == pytest.approx([level(index) for index in range(FRAMES)], abs=4.5)
    assert list(tmp_path.iterdir()) == [], "what was downloaded is gone"


def test_a_file_of_unknown_length_is_a_file_by_its_name(clip: Path) -> None:
    with serving() as (server, host):
        server.ranges = server.say_length = False
        server.content["/clip.mp4"] = ("video/mp4", clip.read_bytes())
        assert len(levels(f"http://{host}/clip.mp4")) == FRAMES


def test_a_redirected_file_is_read(clip: Path) -> None:
    with serving() as (server, host):
        server.redirect["/here"] = "/there.mp4"
        server.content["/there.mp4"] = ("video/mp4", clip.read_bytes())
        assert len(levels(f"http://{host}/here")) == FRAMES


@pytest.mark.parametrize("name", ["photo.jpg", "snapshot.cgi"])
def test_an_image_is_one_frame(name: str) -> None:
    encoded, data = cv2.imencode(".jpg", np.full((30, 40, 3), 120, np.uint8))
    assert encoded
    with serving() as (server, host):
        server.content[f"/{name}"] = ("image/jpeg", data.tobytes())
        with open_source(f"http://{host}/{name}", QUICK) as source:
            (frame,) = list(source)
    assert frame.image_bgr.shape == (30, 40, 3)
    assert frame.source == f"http://{host}/{name}"
    assert not source.live


def segments(folder: Path, clip: Path, *, ended: bool) -> dict[str, tuple[str, bytes]]:
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-c:v", "mpeg2video", "-f", "hls", "-hls_time", "1"]
    command += ["-hls_list_size", "0", str(folder / "list.m3u8")]
    subprocess.run(command, check=True)
    text = (folder / "list.m3u8").read_text()
    if not ended:
        text = text.replace("#EXT-X-ENDLIST\n", "")
    found = {"/list.m3u8": ("application/vnd.apple.mpegurl", text.encode())}
    return found | {f"/{ts.name}": ("video/mp2t", ts.read_bytes()) for ts in folder.glob("*.ts")}


def test_a_playlist_with_an_end_is_a_file(clip: Path, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg writes the playlist")
    with serving() as (server, host):
        server.content = segments(tmp_path, clip, ended=True)
        assert http_content.probe(f"http://{host}/list.m3u8", 5).kind == "file"
        assert len(levels(f"http://{host}/list.m3u8")) == FRAMES
        server.content["/master.m3u8"] = (
            "application/x-mpegurl",
            b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlist.m3u8\n",
        )
        assert http_content.probe(f"http://{host}/master.m3u8", 5).kind == "file"
        text = server.content["/list.m3u8"][1].replace(b"#EXT-X-ENDLIST", b"")
        server.content["/list.m3u8"] = ("application/vnd.apple.mpegurl", text)
        assert http_content.probe(f"http://{host}/list.m3u8", 5).kind == "live"
        assert http_content.probe(f"http://{host}/master.m3u8", 5).kind == "live"


@pytest.mark.parametrize(
    ("kind", "say_length"), [("multipart/x-mixed-replace; boundary=x", False), ("video/mp2t", False)]
)
def test_streams_without_an_end_are_live(kind: str, say_length: bool) -> None:
    with serving() as (server, host):
        server.ranges, server.say_length = False, say_length
        server.content["/video"] = (kind, b"--x\r\n")
        assert http_content.probe(f"http://{host}/video", 5).kind == "live"


def test_a_missing_file_is_reported_at_once() -> None:
    words = r"http://127\.0\.0\.1:\d+/clip\.mp4: the server answers 404 Not Found"
    with serving() as (_, host), pytest.raises(SourceError, match=words):
        open_source(f"http://{host}/clip.mp4", QUICK)


def test_user_and_password_are_sent_and_not_shown(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving() as (server, host):
        server.needs = "Basic bWU6cEBzcw=="  # me:p@ss
        server.ranges = False
        server.content["/clip.mp4"] = ("video/mp4", clip.read_bytes())
        assert len(levels(f"http://me:p%40ss@{host}/clip.mp4")) == FRAMES
        with pytest.raises(SourceError, match="the server answers 401") as caught:
            open_source(f"http://me:wrong@{host}/clip.mp4", QUICK)
    assert "wrong" not in str(caught.value)
    assert "p%40ss" not in caplog.text


def test_a_download_that_ends_early_is_an_error_and_leaves_nothing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving() as (server, host):
        server.ranges = False
        server.content["/clip.mp4"] = ("video/mp4", clip.read_bytes())
        with pytest.raises(SourceError, match="expected at most 100 in"):
            http_content.download(f"http://{host}/clip.mp4", 5, limit=100)
        server.say_length = False
        with pytest.raises(SourceError, match="more than 100 bytes"):
            http_content.download(f"http://{host}/clip.mp4", 5, limit=100)
    assert list(tmp_path.iterdir()) == []


def test_a_camera_that_is_not_waited_for_is_asked_only_if_it_has_a_file_s_name(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    honest = http_content.probe

    def counting(url: str, timeout_s: float) -> http_content.HttpContent:
        asked.append(url.rpartition("/")[2])
        return honest(url, timeout_s)

    monkeypatch.setattr(http_content, "probe", counting)
    waiting = CameraOptions(wait_first=False, connect_timeout_s=5, read_timeout_s=1)
    with serving() as (server, host):
        server.content["/clip.mp4"] = ("video/mp4", clip.read_bytes())
        with open_source(f"http://{host}/clip.mp4", waiting) as source:
            assert not source.live
        with open_source(f"http://{host}/video", waiting) as source:
            assert source.live
    assert asked == ["clip.mp4"]
