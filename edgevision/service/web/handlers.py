"""HTTP handlers of the page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
from collections.abc import Awaitable, Callable, Coroutine
from importlib import resources
from typing import Any

from aiohttp import WSMsgType, web

from edgevision.service.camera_manager import CameraManager
from edgevision.service.web.metrics import Metrics
from edgevision.service.web.results import ResultHub, Subscriber
from edgevision.service.web.state import StateReader, public_readiness
from edgevision.service.web.video import VideoHub, Viewer

SEND_TIMEOUT_S = 10.0
"""Time limit for a client to accept data; it is then disconnected to free its place."""
HEARTBEAT_S = 15.0
BOUNDARY = "edgevision-picture"
QUEUED_BYTES = 128 * 1024
"""Limit of the send buffer of a video stream; more would only contain old frames."""
MOST_WISHES = 4
"""Number of frames that a client may request ahead."""
FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/camera.js": ("camera.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Handlers:
    """HTTP handlers of one camera manager, run in the server's event loop; blocking calls run in threads."""

    def __init__(
        self,
        camera_manager: CameraManager,
        state: StateReader,
        metrics: Metrics,
        video: VideoHub,
        results: ResultHub,
    ) -> None:
        self._camera_manager = camera_manager
        self._state = state
        self._metrics = metrics
        self._video = video
        self._results = results
        folder = resources.files("edgevision.service.web") / "page"
        self._files = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in FILES.items()}
        self._state_text = ""

    def routes(self) -> list[web.RouteDef]:
        """The routes. The query names a camera whose name cannot be part of a path."""
        return [
            *(web.get(path, self.file) for path in FILES),
            web.get("/health", self.health),
            web.get("/ready", self.ready),
            web.get("/metrics", self.metrics),
            web.get("/api/state", self.state),
            web.get("/api/results", self.results, allow_head=False),
            web.get("/video", self.video, allow_head=False),
            web.get("/video/{camera}", self.video, allow_head=False),
            web.post("/api/threshold", self.threshold),
            web.post("/api/cameras/{action:start|stop}", self.switch),
            web.post("/api/cameras/{camera}/{action:start|stop}", self.switch),
        ]

    async def tick(self) -> None:
        """Read the state and send it to all clients; called once a second while there are any."""
        self._state_text = await asyncio.to_thread(self._state.text)
        self._results.tick()

    async def file(self, request: web.Request) -> web.Response:
        """Return a file of the page."""
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def health(self, _: web.Request) -> web.Response:
        """Return 200 while the camera manager works."""
        reason = self._state.trouble()
        if reason is None:
            return web.json_response({"status": "ok"})
        return web.json_response({"status": "failed", "reason": reason}, status=503)

    async def ready(self, _: web.Request) -> web.Response:
        """Return 200 while frames are processed."""
        readiness = self._camera_manager.readiness
        return web.json_response(public_readiness(readiness), status=200 if readiness.ready else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """Return the metrics for Prometheus."""
        accept = request.headers.get("Accept", "")
        body, content_type = await asyncio.to_thread(self._metrics.text, accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def state(self, _: web.Request) -> web.Response:
        """Return the current state."""
        text = await asyncio.to_thread(self._state.text)
        return web.Response(text=text, content_type="application/json")

    async def threshold(self, request: web.Request) -> web.Response:
        """Set the threshold of one camera or of all; null returns to the model's own."""
        wanted = await _json_object(request)
        given, camera = wanted.get("value", ""), wanted.get("camera")
        value = _finite(given)
        if (value is None and given is not None) or not (camera is None or isinstance(camera, str)):
            raise refusal(
                400, 'expected {"value": 0.25} or {"value": 0.25, "camera": "NAME"}, or null as the value'
            )
        if camera is not None:
            self._known(camera)
        await asyncio.to_thread(self._camera_manager.set_threshold, value, camera)
        return web.json_response({"threshold": value})

    async def switch(self, request: web.Request) -> web.Response:
        """Start or stop a camera."""
        name = self._camera(request)
        act = {"start": self._camera_manager.start_camera, "stop": self._camera_manager.stop_camera}
        action = request.match_info["action"]
        await asyncio.to_thread(act[action], name)
        return web.json_response({"camera": name, "action": action})

    async def video(self, request: web.Request) -> web.StreamResponse:
        """Send annotated frames: over a WebSocket if requested, else as Motion JPEG."""
        name = self._camera(request)
        width = _number_of(request, "width", 16, 10_000)
        viewer = self._video.enter(name, None if width is None else round(width))
        if viewer is None:
            raise refusal(503, "too many viewers of this camera; --max-clients sets the maximum")
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._pictures_on_request(request, viewer)
            return await self._motion_jpeg(request, viewer)
        finally:
            self._video.leave(viewer)

    async def results(self, request: web.Request) -> web.StreamResponse:
        """Send results and the state as JSON over a WebSocket."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise refusal(426, "this address requires a WebSocket", {"Upgrade": "websocket"})
        cameras = frozenset(request.query.getall("camera", []))
        for camera in cameras:
            self._known(camera)
        per_s = _number_of(request, "per_s", 0.01, 1000)
        subscriber = self._results.enter(cameras or None, per_s)
        if subscriber is None:
            raise refusal(503, "too many clients; --max-clients sets the maximum")
        try:
            if not self._state_text:
                self._state_text = await asyncio.to_thread(self._state.text)
            return await self._send_results(request, subscriber)
        finally:
            self._results.leave(subscriber)

    async def _send_results(self, request: web.Request, subscriber: Subscriber) -> web.StreamResponse:
        client = _socket()
        await client.prepare(request)

        async def send() -> None:
            while True:
                for text in await self._results.next(subscriber, lambda: self._state_text):
                    await asyncio.wait_for(client.send_str(text), SEND_TIMEOUT_S)

        async def listen() -> None:
            async for _ in client:
                pass  # messages are ignored; the loop detects the end

        await _either(listen(), send())
        return client

    async def _pictures_on_request(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """Send one frame per message of the client, so that frames never queue up."""
        client = _socket()
        await client.prepare(request)
        wishes: asyncio.Queue[None] = asyncio.Queue(MOST_WISHES)

        async def listen() -> None:
            async for message in client:
                if message.type == WSMsgType.TEXT and not wishes.full():
                    wishes.put_nowait(None)

        async def send() -> None:
            while True:
                await wishes.get()
                await asyncio.wait_for(client.send_bytes(await viewer.next()), SEND_TIMEOUT_S)

        await _either(listen(), send())
        return client

    async def _motion_jpeg(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "multipart/x-mixed-replace"
        response.headers["Content-Type"] += f"; boundary={BOUNDARY}"
        if request.transport is not None:
            connection = request.transport.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUED_BYTES)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.TimeoutError):
            while True:
                picture = await viewer.next()
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                part = head.encode() + picture + b"\r\n"
                await asyncio.wait_for(response.write(part), SEND_TIMEOUT_S)
        if request.transport is not None:
            request.transport.abort()  # closing would wait for data that the client has not read
        return response

    def _camera(self, request: web.Request) -> str:
        name = request.match_info.get("camera", request.query.get("camera"))
        if name is None:
            raise refusal(400, "expected a camera's name in the path, or ?camera=NAME")
        return self._known(name)

    def _known(self, name: str) -> str:
        if all(camera.name != name for camera in self._camera_manager.cameras):
            raise refusal(404, f"there is no camera {name!r}; /api/state lists them")
        return name


def refusal(status: int, reason: str, headers: dict[str, str] | None = None) -> web.HTTPException:
    """An error response with its reason in JSON."""
    kinds = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        403: web.HTTPForbidden,
        404: web.HTTPNotFound,
        415: web.HTTPUnsupportedMediaType,
        421: web.HTTPMisdirectedRequest,
        426: web.HTTPUpgradeRequired,
        429: web.HTTPTooManyRequests,
        503: web.HTTPServiceUnavailable,
    }
    return kinds[status](text=json.dumps({"error": reason}), content_type="application/json", headers=headers)


def _socket() -> web.WebSocketResponse:
    """A WebSocket without compression that accepts only short messages."""
    return web.WebSocketResponse(heartbeat=HEARTBEAT_S, timeout=0.5, compress=False, max_msg_size=1024)


async def _either(*works: Coroutine[Any, Any, None]) -> None:
    """Run until the first ends, and cancel the others. A lost connection is a normal end."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.TimeoutError):
            task.result()


async def _json_object(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise refusal(415, "expected Content-Type: application/json")
    try:
        value = await request.json()
    except (ValueError, UnicodeDecodeError) as error:
        raise refusal(400, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise refusal(400, "the body is not a JSON object")
    return value


def _finite(value: object) -> float | None:
    """A JSON number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _number_of(request: web.Request, key: str, least: float, most: float) -> float | None:
    text = request.query.get(key)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise refusal(400, f"{key} is {text!r}; expected a number from {least:g} to {most:g}")
    return value
