"""Test servers, closed after each test, and an HTTP client."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from edgevision.service.camera_manager import CameraManager
from edgevision.service.web.options import PageOptions
from edgevision.service.web.server import PageServer, serve

pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    server: PageServer,
    path: str,
    method: str = "GET",
    *,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """One request just as it is given: no redirect is followed, no path is tidied."""
    host = urlsplit(server.url).hostname or ""
    connection = http.client.HTTPConnection(host, server.port, timeout=20)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def post(server: PageServer, path: str, value: object, **headers: str) -> Answer:
    """A POST of JSON as the page itself sends it, unless `headers` say otherwise; "" leaves one out."""
    sent = {"Content-Type": "application/json", "Origin": server.url.rstrip("/"), **headers}
    kept = {name.replace("_", "-"): text for name, text in sent.items() if text}
    return ask(server, path, "POST", headers=kept, body=json.dumps(value).encode())


def wait_until(condition: Callable[[], object], what: str, within_s: float = 20.0) -> None:
    until_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until_s, f"not within {within_s} s: {what}"
        time.sleep(0.01)


Serving = Callable[..., PageServer]


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Serves a camera manager on a free port with `PageOptions` given by name."""
    servers: list[PageServer] = []

    def begin(camera_manager: CameraManager, **options: Any) -> PageServer:
        server = serve(camera_manager, PageOptions(**{"port": 0, **options}))
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.close()
