"""Responses of the server."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from edgevision.errors import EngineError, UsageError
from edgevision.service.camera_plan import Readiness
from edgevision.service.web.handlers import FILES
from edgevision.service.web.options import PageOptions
from edgevision.service.web.server import HEADERS, PageServer, serve
from tests.service.web.conftest import Serving, ask, post, wait_until
from tests.service.web.fake_manager import FakeManager, result

PAGE = Path(__file__).resolve().parents[3] / "edgevision" / "service" / "web" / "page"
STRANGE = (
    "<script>alert(1)</script>",
    "a/b",
    "..",
    ".",
    "../../etc/passwd",
    "Türe 門 🚪",
    "a?b#c%2F",
    "start",
    '"',
)


@pytest.fixture
def camera_manager() -> FakeManager:
    return FakeManager(["cam", "yard"])


@pytest.fixture
def server(serving: Serving, camera_manager: FakeManager) -> PageServer:
    return serving(camera_manager)


def test_it_listens_on_loopback_by_default(server: PageServer) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}/"
    assert server.entry_url == server.url
    assert server.token is None


def test_the_page_loads_only_local_resources(server: PageServer) -> None:
    for path, (name, kind) in FILES.items():
        answer = ask(server, path)
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(kind)
        assert answer.body == (PAGE / name).read_bytes()
    assert {name for name, _ in FILES.values()} == {path.name for path in PAGE.iterdir()}
    for part in PAGE.iterdir():
        text = part.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text.replace("https:", "http:").replace('"http:"', ""), "an outside address"
        assert "innerHTML" not in text
        assert "style=" not in text
        assert " onclick" not in text


@pytest.mark.parametrize("path", ["/", "/page.js", "/health", "/ready", "/api/state", "/metrics", "/nothing"])
def test_every_response_has_the_headers(server: PageServer, path: str) -> None:
    headers = ask(server, path).headers
    for name, value in HEADERS.items():
        assert headers[name] == value
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "Server" not in headers


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
@pytest.mark.parametrize("path", ["/", "/api/state", "/video/cam", "/metrics"])
def test_read_only_paths_reject_other_methods(server: PageServer, method: str, path: str) -> None:
    answer = ask(server, path, method, headers={"Origin": server.url.rstrip("/")}, body=b"x")
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]
    assert answer.json == {"error": "Method Not Allowed"}


def test_a_large_body_is_refused(server: PageServer, camera_manager: FakeManager) -> None:
    assert post(server, "/api/threshold", {"value": 0.5, "more": "x" * 10_000}).status == 413
    assert camera_manager.calls == []


@pytest.mark.parametrize(
    "path", ["/page.js/", "/..%2findex.html", "/page/../../server.py", "/%2e%2e/server.py", "/index.html"]
)
def test_there_are_no_other_files(server: PageServer, path: str) -> None:
    assert ask(server, path).status == 404


def test_a_name_that_is_not_ours_is_refused(server: PageServer) -> None:
    for path in ("/", "/api/state", "/health", "/page.js"):
        answer = ask(server, path, headers={"Host": f"attacker.example:{server.port}"})
        assert answer.status == 421
    assert ask(server, "/api/state", headers={"Host": f"localhost:{server.port}"}).status == 200


def test_a_proxy_s_name_is_let_in_with_the_token_alone(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager, allowed_hosts=("cameras.example.org",))
    assert server.token is not None
    host = {"Host": "cameras.example.org"}
    assert ask(server, "/api/state", headers=host).status == 401
    known = {**host, "Authorization": f"Bearer {server.token}"}
    assert ask(server, "/api/state", headers=known).status == 200
    welcome = ask(server, f"/?token={server.token}", headers={**host, "X-Forwarded-Proto": "https"})
    assert "; Secure" in welcome.headers["Set-Cookie"]
    came = post(server, "/api/threshold", {"value": 0.5}, Origin="https://cameras.example.org", **known)
    assert came.status == 200


@pytest.mark.parametrize(
    "origin", ["http://attacker.example", "null", "http://127.0.0.1:1", "http://localhost"]
)
def test_a_post_of_another_page_is_refused(
    server: PageServer, camera_manager: FakeManager, origin: str
) -> None:
    assert post(server, "/api/threshold", {"value": 0.5}, Origin=origin).status == 403
    assert post(server, "/api/cameras/cam/stop", {}, Origin=origin).status == 403
    assert camera_manager.calls == []


def test_a_post_without_origin_is_refused(server: PageServer, camera_manager: FakeManager) -> None:
    assert post(server, "/api/threshold", {"value": 0.5}, Origin="").status == 403
    assert camera_manager.calls == []


def test_thresholds(server: PageServer, camera_manager: FakeManager) -> None:
    assert post(server, "/api/threshold", {"value": 0.5}).json == {"threshold": 0.5}
    assert post(server, "/api/threshold", {"value": 1, "camera": "yard"}).status == 200
    assert camera_manager.calls == [("threshold", 0.5, None), ("threshold", 1.0, "yard")]
    wait_until(
        lambda: [camera["threshold"] for camera in ask(server, "/api/state").json["cameras"]] == [0.5, 1.0],
        "the state contains the thresholds",
    )
    assert post(server, "/api/threshold", {"value": None, "camera": "cam"}).json == {"threshold": None}
    assert camera_manager.calls[2:] == [("threshold", None, "cam")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"value": 1.5}', 400),
        (b'{"value": -0.1}', 400),
        (b'{"value": true}', 400),
        (b'{"value": "0.5"}', 400),
        (b'{"value": NaN}', 400),
        (b'{"value": 1e999}', 400),
        (b'{"value": 1' + b"0" * 400 + b"}", 400),
        (b"{}", 400),
        (b"[]", 400),
        (b"not json", 400),
        (b"\xff\xfe", 400),
        (b"", 400),
        (b'{"value": 0.5, "camera": 3}', 400),
        (b'{"value": 0.5, "camera": "nobody"}', 404),
    ],
)
def test_thresholds_that_cannot_be(
    server: PageServer, camera_manager: FakeManager, body: bytes, status: int
) -> None:
    headers = {"Origin": server.url.rstrip("/"), "Content-Type": "application/json"}
    answer = ask(server, "/api/threshold", "POST", headers=headers, body=body)
    assert answer.status == status
    assert answer.json["error"]
    assert camera_manager.calls == []


def test_a_form_of_another_kind_is_refused(server: PageServer, camera_manager: FakeManager) -> None:
    answer = post(server, "/api/threshold", {"value": 0.5}, Content_Type="text/plain")
    assert answer.status == 415
    assert camera_manager.calls == []


@pytest.mark.parametrize("name", STRANGE)
def test_any_name_can_be_called(serving: Serving, name: str) -> None:
    camera_manager = FakeManager([name])
    server = serving(camera_manager)
    part = quote(name, safe="")
    dots = name in (".", "..")
    path = f"/api/cameras/stop?camera={part}" if dots else f"/api/cameras/{part}/stop"
    assert post(server, path, {}).json == {"camera": name, "action": "stop"}
    assert camera_manager.calls == [("stopped", name)]
    with video(server, f"/video?camera={part}" if dots else f"/video/{part}") as opened:
        wait_until(lambda: server._video.viewers == 1, "the viewer is in")
        camera_manager.emit(name, result())
        assert opened.read(4) == b"--ed"
    assert ask(server, "/api/state").json["cameras"][0]["name"] == name


def test_unknown_cameras(server: PageServer) -> None:
    for path in ("/video/nobody", "/video/cam/x", "/video?camera=", "/api/cameras/nobody/stop"):
        method = "POST" if "api" in path else "GET"
        assert ask(server, path, method, headers={"Origin": server.url.rstrip("/")}).status == 404
    assert ask(server, "/video").status == 400
    assert post(server, "/api/cameras/cam/explode", {}).status == 404


class video:  # noqa: N801  # used as a function
    """A Motion JPEG stream, open within the block."""

    def __init__(self, server: PageServer, path: str, headers: dict[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        self._connection.request("GET", path, headers=headers or {})

    def __enter__(self) -> http.client.HTTPResponse:
        return self._connection.getresponse()

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def test_motion_jpeg(server: PageServer, camera_manager: FakeManager) -> None:
    with video(server, "/video/cam?width=320") as opened:
        assert opened.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=edgevision-picture"
        assert opened.headers["Cache-Control"] == "no-store"
        wait_until(lambda: server._video.viewers == 1, "the viewer is in")
        wanted = server._video._wanted["cam"]
        for brightness in (50, 200):
            camera_manager.emit("cam", result(brightness=brightness))
            assert opened.readline() == b"--edgevision-picture\r\n"
            assert opened.readline() == b"Content-Type: image/jpeg\r\n"
            length = int(opened.readline().removeprefix(b"Content-Length: "))
            opened.readline()
            assert opened.read(length)[:2] == b"\xff\xd8"
            assert opened.readline() == b"\r\n"
            wait_until(
                lambda: wanted.newest is None and time.monotonic() >= wanted.due_s, "the next picture is due"
            )
    wait_until(lambda: send_and_count(server, camera_manager) == 0, "the viewer has left")


def send_and_count(server: PageServer, camera_manager: FakeManager) -> int:
    camera_manager.emit("cam", result())
    return server._video.viewers


@pytest.mark.parametrize("width", ["0", "-5", "nan", "x", "1e9", ""])
def test_widths_that_cannot_be(server: PageServer, width: str) -> None:
    assert ask(server, f"/video/cam?width={width}").status == 400


def test_the_viewer_limit_of_a_camera_refuses(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager, max_clients=2)
    with video(server, "/video/cam"), video(server, "/video/cam"):
        wait_until(lambda: server._video.viewers == 2, "two look")
        refused = ask(server, "/video/cam")
        assert refused.status == 503
        assert "--max-clients" in refused.json["error"]
        with video(server, "/video/yard") as other:
            assert other.status == 200


def test_a_viewer_that_reads_nothing_blocks_no_other(server: PageServer, camera_manager: FakeManager) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.sendall(b"GET /video/cam HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        with video(server, "/video/cam") as reading:
            wait_until(lambda: server._video.viewers == 2, "two look")
            done, taken = threading.Event(), 0

            def emit() -> None:
                while not done.wait(0.005):
                    camera_manager.emit("cam", result(side=600))

            thread = threading.Thread(target=emit)
            thread.start()
            try:
                while taken < 500_000:
                    taken += len(reading.read1(65536))
            finally:
                done.set()
                thread.join()


def test_health(server: PageServer, camera_manager: FakeManager) -> None:
    assert ask(server, "/health").json == {"status": "ok"}
    camera_manager.fake.stuck_s = 33.0
    stuck = ask(server, "/health")
    assert (stuck.status, stuck.json["reason"]) == (503, "the engine has not answered for 33 s")
    camera_manager.fake.expected_inference_s = 2.0
    assert ask(server, "/health").status == 200, "what usually takes 2 s may take 33 s once"
    camera_manager.fake.expected_inference_s = 0.0
    camera_manager.fake.stuck_s = 599.0
    assert ask(server, "/health").status == 200, "the first call may build kernels"
    camera_manager.fake.stuck_s = 601.0
    assert ask(server, "/health").status == 503
    camera_manager.fake.stuck_s = 0.0
    camera_manager.fake.failure = EngineError("/home/someone/secret.plan broke")
    failed = ask(server, "/health")
    assert failed.status == 503
    assert "EngineError" in failed.json["reason"]
    assert "secret" not in failed.body.decode()


def test_readiness(server: PageServer, camera_manager: FakeManager) -> None:
    assert ask(server, "/ready").json == {"phase": "running", "share": None, "detail": "running"}
    camera_manager.fake.readiness = Readiness("building", 0.43, "/home/someone/secret.onnx")
    building = ask(server, "/ready")
    assert building.status == 503
    assert building.json == {"phase": "building", "share": 0.43, "detail": "building an engine: 43 %"}


def test_the_token(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager, host="0.0.0.0")
    assert server.token is not None
    assert len(server.token) >= 43
    assert server.entry_url == f"{server.url}?token={server.token}"
    for path in ("/", "/api/state", "/api/results", "/metrics", "/video/cam", "/video/nobody"):
        assert ask(server, path).status == 401
        assert ask(server, path, headers={"Authorization": "Bearer wrong"}).status == 401
        assert ask(server, path, headers={"Cookie": f"edgevision_{server.port}=wrong"}).status == 401
    for path in ("/health", "/ready", "/page.css", "/icon.svg"):
        assert ask(server, path).status == 200
    assert ask(server, f"/api/state?token={server.token}").status == 401, "an address is no place for it"
    assert b"<form" in ask(server, "/").body
    bearer = {"Authorization": f"Bearer {server.token}"}
    assert ask(server, "/metrics", headers=bearer).status == 200
    assert post(server, "/api/threshold", {"value": 0.4}).status == 401
    assert post(server, "/api/threshold", {"value": 0.4}, Origin="", **bearer).status == 200


def test_the_token_becomes_a_cookie(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager, token="t" * 20)
    welcome = ask(server, f"/?token={'t' * 20}")
    assert (welcome.status, welcome.headers["Location"]) == (303, "/")
    cookie, *rest = welcome.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(rest)
    assert "ttt" not in cookie
    assert ask(server, "/", headers={"Cookie": cookie}).status == 200
    assert post(server, "/api/threshold", {"value": 0.4}, Cookie=cookie).status == 200
    assert post(server, "/api/threshold", {"value": 0.4}, Cookie=cookie, Origin="").status == 403
    wrong = ask(server, "/?token=wrong")
    assert wrong.status == 401
    assert "Set-Cookie" not in wrong.headers


def test_guessing_is_stopped(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager, token="t" * 20)
    answers = [ask(server, f"/?token=guess{number}").status for number in range(12)]
    assert answers == [401] * 10 + [429] * 2
    locked = ask(server, "/api/state", headers={"Authorization": f"Bearer {'t' * 20}"})
    assert locked.status == 429
    assert 0 < int(locked.headers["Retry-After"]) <= 61
    assert ask(server, "/health").status == 200


def test_a_port_in_use_is_reported(server: PageServer, camera_manager: FakeManager) -> None:
    with pytest.raises(
        UsageError, match=f"port {server.port}: another program uses this port; choose another --port"
    ):
        serve(camera_manager, PageOptions(port=server.port))
    assert len(camera_manager.listeners) == 1


def test_an_address_of_another_machine_is_reported(camera_manager: FakeManager) -> None:
    with pytest.raises(UsageError, match="this machine does not have that address"):
        serve(camera_manager, PageOptions(host="192.0.2.1", port=0))
    with pytest.raises(UsageError, match="cannot listen on 'no such host'"):
        serve(camera_manager, PageOptions(host="no such host", port=0))


def test_it_ends_within_a_second_and_lets_the_station_be(camera_manager: FakeManager) -> None:
    server = serve(camera_manager, PageOptions(port=0))
    with video(server, "/video/cam"), video(server, "/video/yard"):
        wait_until(lambda: server._video.viewers == 2, "two look")
        began_s = time.monotonic()
        server.close()
        took_s = time.monotonic() - began_s
    assert took_s < 1.5, "it waits for a second at most"
    wait_until(lambda: not server._thread.is_alive(), "the thread has ended")
    assert camera_manager.listeners == []
    server.close()
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/health")


def test_it_may_be_served_again_at_the_same_port(camera_manager: FakeManager) -> None:
    first = serve(camera_manager, PageOptions(port=0))
    assert ask(first, "/health").status == 200
    first.close()
    with serve(camera_manager, PageOptions(port=first.port)) as second:
        assert ask(second, "/health").status == 200


def test_one_that_never_began_can_be_closed(camera_manager: FakeManager) -> None:
    PageServer(camera_manager).close()
