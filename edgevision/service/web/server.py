"""The page's server, which runs in its own thread between visitors and a camera manager."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from urllib.parse import quote

from aiohttp import web

from edgevision.errors import EdgevisionError, UsageError
from edgevision.service.camera_manager import CameraManager
from edgevision.service.web.access import Guard, host_is_ours, origin_is_ours
from edgevision.service.web.handlers import FILES, Handlers, refusal
from edgevision.service.web.metrics import Ages, Metrics, PageCounts
from edgevision.service.web.options import PageOptions, is_loopback
from edgevision.service.web.results import ResultHub
from edgevision.service.web.state import StateReader
from edgevision.service.web.video import VideoHub
from edgevision.sinks.frame_result import FrameResult

log = logging.getLogger(__name__)

TICK_S = 1.0
CLOSE_S = 1.0
LARGEST_BODY = 4096
COOKIE_DAYS = 30
OPEN_TO_ALL = {"/health", "/ready", *FILES} - {"/"}
"""Paths without private contents."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ASK_FOR_TOKEN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>edgevision</title><link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/page.css"></head>
<body class="gate"><main><h1>edgevision</h1><p>{reason}</p>
<form method="get" action="/"><label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button type="submit">Open</button></form></main></body></html>
"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageServer:
    """Serves the page of a camera manager. `start` returns when it listens. Closing it leaves the manager open.

    The pipeline's thread never waits for a visitor; it only passes references to its newest results.
    """

    def __init__(self, camera_manager: CameraManager, options: PageOptions | None = None) -> None:
        self.options = options or PageOptions()
        self.token = self.options.token
        """None if no token is required."""
        if self.token is None and self.options.needs_token:
            self.token = secrets.token_urlsafe(32)
        self.port = 0
        self._camera_manager = camera_manager
        self._guard = Guard(self.token)
        self._counts = PageCounts()
        self._ages = Ages()
        self._video = VideoHub(self.options)
        self._results = ResultHub(self.options.max_clients)
        state = StateReader(camera_manager, self.options.watchdog)
        metrics = Metrics(camera_manager, self._ages, self._counts, self.options.watchdog)
        self._handlers = Handlers(camera_manager, state, metrics, self._video, self._results)
        self._thread = threading.Thread(target=self._work, name="page", daemon=True)
        self._listens = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Start to listen. Raises `UsageError` for a port in use or an address of another machine."""
        self._thread.start()
        self._listens.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        self._unsubscribe = self._camera_manager.subscribe(self._on_result)

    def close(self) -> None:
        """Disconnect all clients within a second; a second call does nothing."""
        self._unsubscribe()
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(CLOSE_S)

    @property
    def viewers(self) -> int:
        """Number of open video streams."""
        return self._video.viewers

    @property
    def pictures(self) -> int:
        """Number of frames drawn and encoded for viewers."""
        return self._video.encoded

    @property
    def url(self) -> str:
        """Address without the token."""
        host = self.options.host
        if host in ("0.0.0.0", "::"):
            host = _own_address()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def entry_url(self) -> str:
        """Address with the token, if there is one; keep it secret."""
        return self.url if self.token is None else f"{self.url}?token={quote(self.token, safe='')}"

    def __enter__(self) -> PageServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _on_result(self, camera: str, processed: FrameResult) -> None:
        """Receive a result; called in the pipeline's thread."""
        self._ages.offer(camera, processed)
        self._video.offer(camera, processed)
        self._results.offer(camera, processed)

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._listens.is_set():
                log.exception("the page has failed")
            self._failure = error
        finally:
            self._listens.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        app = web.Application(middlewares=[self._check], client_max_size=LARGEST_BODY)
        app.add_routes(self._handlers.routes())
        app.on_response_prepare.append(_add_headers)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await self._listen(runner)
            self._video.start(self._loop)
            self._results.start(self._loop)
            self._listens.set()
            while not self._stop.is_set():
                await self._tick()
                with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), TICK_S)
        finally:
            self._video.close()
            await runner.cleanup()

    async def _tick(self) -> None:
        if self._results.clients:
            try:
                await self._handlers.tick()
            except Exception:  # affects one second only; the page must continue
                log.exception("the state cannot be read")

    async def _listen(self, runner: web.AppRunner) -> None:
        host, port = self.options.host, self.options.port
        try:
            await web.TCPSite(runner, host, port, reuse_address=True).start()
        except socket.gaierror as error:
            raise UsageError(
                f"cannot listen on {host!r}: {error.strerror}; expected an address of this machine"
            ) from error
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host} port {port}: {_listening_remedy(error, port)}"
            ) from error
        self.port = runner.addresses[0][1]

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Authorize a request; rejections are counted and, except for the page itself, sent as JSON."""
        self._counts.viewers, self._counts.clients = self._video.viewers, self._results.clients
        self._counts.pictures, self._counts.missed = self._video.encoded, self._results.missed
        try:
            welcome = self._entered(request)
            return await handler(request) if welcome is None else welcome
        except web.HTTPException as error:
            if error.status >= 400:
                self._counts.refused += 1
            if request.path == "/" and error.status in (401, 429):
                page = ASK_FOR_TOKEN.format(reason=json.loads(error.text or "{}").get("error", ""))
                return web.Response(
                    text=page, content_type="text/html", status=error.status, headers=_kept(error)
                )
            if error.content_type == "application/json" or error.status < 400:
                raise
            return web.json_response({"error": error.reason}, status=error.status, headers=_kept(error))
        except EdgevisionError as error:  # raised by the camera manager
            return web.json_response({"error": str(error)}, status=400)

    def _entered(self, request: web.Request) -> web.Response | None:
        """Reject an unauthorized request, or return the response that sets the cookie; None if authorized."""
        options, host = self.options, request.headers.get("Host", "")
        if not host_is_ours(host, loopback=is_loopback(options.host), allowed=options.allowed_hosts):
            raise refusal(421, f"{host!r} is not a name of this page; --allow-host adds a name")
        origin = request.headers.get("Origin")
        if origin is not None and not origin_is_ours(origin, host):
            raise refusal(403, "the request comes from another page")
        if request.path in OPEN_TO_ALL:
            return None
        address = request.remote or ""
        locked_s = self._guard.locked_s(address)
        if locked_s > 0:
            wait = str(int(locked_s) + 1)
            raise refusal(429, f"too many wrong tokens; wait {wait} s", {"Retry-After": wait})
        token = request.query.get("token")
        if token is not None and self.token is not None and request.path == "/":
            if not self._guard.accepts(token, address):
                raise refusal(401, "The token is wrong.")
            return self._welcome(request)
        proof = self._guard.proof(_bearer(request), request.cookies.get(self._cookie_name), address)
        if proof is None:
            raise refusal(
                401,
                "A token is required; it was printed where the page was started.",
                {"WWW-Authenticate": 'Bearer realm="edgevision"'},
            )
        if request.method == "POST" and origin is None and proof != "bearer":
            raise refusal(403, "a POST requires an Origin header or Authorization: Bearer")
        return None

    @property
    def _cookie_name(self) -> str:
        """Name of the cookie; it contains the port, because browsers share cookies between ports."""
        return f"edgevision_{self.port}"

    def _welcome(self, request: web.Request) -> web.Response:
        """Exchange the token for a cookie, so that the token is in no address and no history."""
        answer = web.Response(status=303, headers={"Location": "/"})
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        answer.set_cookie(
            self._cookie_name,
            self._guard.cookie,
            max_age=COOKIE_DAYS * 86400,
            httponly=True,
            samesite="Strict",
            secure=secure,
            path="/",
        )
        return answer


def serve(camera_manager: CameraManager, options: PageOptions | None = None) -> PageServer:
    """Start a server; the caller closes it."""
    server = PageServer(camera_manager, options)
    server.start()
    return server


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)


def _kept(error: web.HTTPException) -> dict[str, str]:
    """The headers of an error that a new body keeps."""
    return {
        name: error.headers[name]
        for name in ("Allow", "Retry-After", "WWW-Authenticate")
        if name in error.headers
    }


def _bearer(request: web.Request) -> str | None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def _listening_remedy(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program uses this port; choose another --port, or --port 0 for any free port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address; --host 0.0.0.0 listens on all interfaces"
    if error.errno == errno.EACCES:
        return f"the system reserves ports such as {port}; choose one from 1024 on"
    return error.strerror or str(error)


def _own_address() -> str:
    """The address of this machine on the network; nothing is sent to find it."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"
