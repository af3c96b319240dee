"""What each address of the page answers."""

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
"""A client that takes nothing for so long is let go: its place is for others."""
HEARTBEAT_S = 15.0
BOUNDARY = "edgevision-picture"
QUEUED_BYTES = 128 * 1024
"""What the system may hold of a video stream that a client does not read: more of it would be old pictures."""
MOST_WISHES = 4
"""Pictures that a client may ask for ahead."""
FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/camera.js": ("camera.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Handlers:
    """The addresses, over one camera manager. All run in the server's loop; what may wait is handed to other threads."""

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
        """The table of addresses. A camera whose name cannot be a part of a path is named by the query."""
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
        """Read the state and have it sent to all clients; called once a second while there are any."""
        self._state_text = await asyncio.to_thread(self._state.text)
        self._results.tick()

    async def file(self, request: web.Request) -> web.Response:
        """A part of the page."""
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def health(self, _: web.Request) -> web.Response:
        """200 while the camera manager lives."""
        reason = self._state.trouble()
        if reason is None:
            return web.json_response({"status": "ok"})
        return web.json_response({"status": "failed", "reason": reason}, status=503)

    async def ready(self, _: web.Request) -> web.Response:
        """200 once frames are run."""
        readiness = self._camera_manager.readiness
        return web.json_response(public_readiness(readiness), status=200 if readiness.ready else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """The scrape."""
        accept = request.headers.get("Accept", "")
        body, content_type = await asyncio.to_thread(self._metrics.text, accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def state(self, _: web.Request) -> web.Response:
        """How things stand."""
        text = await asyncio.to_thread(self._state.text)
        return web.Response(text=text, content_type="application/json")

    async def threshold(self, request: web.Request) -> web.Response:
        """Set the threshold of one camera or of all."""
        wanted = await _json_object(request)
        value, camera = _finite(wanted.get("value")), wanted.get("camera")
        if value is None or not (camera is None or isinstance(camera, str)):
            raise refusal(400, 'expected {"value": 0.25} or {"value": 0.25, "camera": "NAME"}')
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
        """Annotated pictures: over a WebSocket if one is asked for, else Motion JPEG."""
        name = self._camera(request)
        width = _number_of(request, "width", 16, 10_000)
        viewer = self._video.enter(name, None if width is None else round(width))
        if viewer is None:
            raise refusal(503, "as many look at this camera as may; --max-clients sets how many")
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._pictures_on_request(request, viewer)
            return await self._motion_jpeg(request, viewer)
        finally:
            self._video.leave(viewer)

    async def results(self, request: web.Request) -> web.StreamResponse:
        """Results and the state, as JSON over a WebSocket."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise refusal(426, "this address speaks WebSocket", {"Upgrade": "websocket"})
        cameras = frozenset(request.query.getall("camera", []))
        for camera in cameras:
            self._known(camera)
        per_s = _number_of(request, "per_s", 0.01, 1000)
        subscriber = self._results.enter(cameras or None, per_s)
        if subscriber is None:
            raise refusal(503, "as many clients listen as may; --max-clients sets how many")
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
                pass  # nothing is expected; reading sees the end

        await _either(listen(), send())
        return client

    async def _pictures_on_request(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """One picture for each message of the client's: none waits on the way longer than the client does."""
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
            request.transport.abort()  # what the client has not read would be waited for
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
    """An answer that says no, and why, in JSON."""
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
    """One that sends as it is told, and takes no more than a word."""
    return web.WebSocketResponse(heartbeat=HEARTBEAT_S, timeout=0.5, compress=False, max_msg_size=1024)


async def _either(*works: Coroutine[Any, Any, None]) -> None:
    """Until the first of them ends; the others are cancelled. A connection that is lost is an end like any other."""
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
    """A JSON number; None for anything else."""
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
