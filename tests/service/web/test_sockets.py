"""Results and video over WebSocket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from edgevision.contract.results import Detections
from edgevision.service.web.server import PageServer
from edgevision.sinks.frame_result import FrameResult
from tests.service.web.conftest import Serving, ask
from tests.service.web.fake_manager import FakeManager, result


@pytest.fixture
def camera_manager() -> FakeManager:
    return FakeManager(["cam", "yard"])


def visit(server: PageServer, scene: Callable[[ClientSession], Awaitable[None]], **headers: str) -> None:
    async def play() -> None:
        async with ClientSession(server.url, headers=headers, timeout=aiohttp.ClientTimeout(20)) as session:
            await scene(session)

    asyncio.run(asyncio.wait_for(play(), 60))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def takes(server: PageServer) -> bool:
    """True if the next result of the camera would become a picture, and those before it have."""
    wanted = server._video._wanted["cam"]
    return wanted.newest is None and time.monotonic() >= wanted.due_s


async def receive(socket: ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next message of a kind."""
    while True:
        message: dict[str, Any] = await socket.receive_json(timeout=20)
        if message["type"] == kind:
            return message


def test_the_state_at_once_and_every_second_and_results_between(
    serving: Serving, camera_manager: FakeManager
) -> None:
    server = serving(camera_manager)

    async def scene(session: ClientSession) -> None:
        async with session.ws_connect("/api/results") as socket:
            first = await socket.receive_json(timeout=20)
            assert first["type"] == "state"
            assert [camera["name"] for camera in first["cameras"]] == ["cam", "yard"]
            camera_manager.emit("yard", result(index=3))
            got = await receive(socket, "result")
            assert (got["camera"], got["frame"], got["missed"]) == ("yard", 3, 0)
            camera_manager.set_threshold(0.75)
            for _ in range(5):
                state = await receive(socket, "state")
                if state["cameras"][0]["threshold"] == 0.75:
                    return
            raise AssertionError("the new threshold is not sent")

    visit(server, scene)


def test_a_filter(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager)

    async def scene(session: ClientSession) -> None:
        async with session.ws_connect("/api/results?camera=yard") as socket:
            await receive(socket, "state")
            camera_manager.emit("cam", result(index=1))
            camera_manager.emit("yard", result(index=2))
            assert (await receive(socket, "result"))["camera"] == "yard"
        for path, status in (("/api/results?camera=nobody", 404), ("/api/results?per_s=0", 400)):
            with pytest.raises(WSServerHandshakeError) as refused:
                await session.ws_connect(path)
            assert refused.value.status == status

    visit(server, scene)


def test_a_slow_client_misses_results_and_receives_their_number(
    serving: Serving, camera_manager: FakeManager
) -> None:
    server = serving(camera_manager)
    many = 3000

    async def scene(session: ClientSession) -> None:
        async with session.ws_connect("/api/results?camera=cam", max_msg_size=0) as socket:
            await receive(socket, "state")
            for index in range(many):
                camera_manager.emit("cam", big_result(index))
                if index % 50 == 0:
                    await asyncio.sleep(0)
            got = missed = 0
            last = -1
            while last < many - 1:
                message = await receive(socket, "result")
                got, missed, last = got + 1, missed + message["missed"], message["frame"]
            assert got + missed == many, "what did not come was counted"

    visit(server, scene)
    assert server._results.missed > 0


def big_result(index: int) -> FrameResult:
    """Some 20 kB as JSON: what the system holds on the way is full soon."""
    boxes = np.tile(np.array([[1, 1, 60, 60]], np.float32), (200, 1))
    found = Detections(boxes, np.full(200, 0.5, np.float32), np.zeros(200, np.int32), ("person" * 10,))
    return result(index=index, found=found)


def test_the_client_limit_refuses_and_a_leaving_client_frees_a_place(
    serving: Serving, camera_manager: FakeManager
) -> None:
    server = serving(camera_manager, max_clients=1)

    async def scene(session: ClientSession) -> None:
        async with session.ws_connect("/api/results"):
            with pytest.raises(WSServerHandshakeError) as refused:
                await session.ws_connect("/api/results")
            assert refused.value.status == 503
        await until(lambda: server._results.clients == 0)
        async with session.ws_connect("/api/results") as socket:
            await receive(socket, "state")

    visit(server, scene)


def test_a_socket_of_another_page_is_refused(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager)

    async def scene(session: ClientSession) -> None:
        for path in ("/api/results", "/video/cam"):
            with pytest.raises(WSServerHandshakeError) as refused:
                await session.ws_connect(path, origin="http://attacker.example")
            assert refused.value.status == 403
            async with session.ws_connect(path, origin=server.url.rstrip("/")):
                pass

    visit(server, scene)


def test_a_socket_needs_the_token(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager, token="t" * 20)

    async def stranger(session: ClientSession) -> None:
        for path in ("/api/results", "/video/cam"):
            with pytest.raises(WSServerHandshakeError) as refused:
                await session.ws_connect(path)
            assert refused.value.status == 401

    async def friend(session: ClientSession) -> None:
        async with session.ws_connect("/api/results") as socket:
            await receive(socket, "state")

    visit(server, stranger)
    visit(server, friend, Authorization=f"Bearer {'t' * 20}")


def test_plain_requests_receive_status_426(serving: Serving, camera_manager: FakeManager) -> None:
    answer = ask(serving(camera_manager), "/api/results")
    assert answer.status == 426
    assert answer.headers["Upgrade"] == "websocket"


def test_one_frame_for_each_request(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager, video_per_s=60.0)

    async def scene(session: ClientSession) -> None:
        async with session.ws_connect("/video/cam?width=480") as socket:
            await until(lambda: server._video.viewers == 1)
            for _ in range(3):
                camera_manager.emit("cam", result(side=600))
                await until(lambda: takes(server))
            with pytest.raises(asyncio.TimeoutError):
                await socket.receive(timeout=0.2)

    async def wishes(session: ClientSession) -> None:
        async with session.ws_connect("/video/cam?width=480") as socket:
            await until(lambda: server._video.viewers == 1)
            for brightness in (30, 220):
                await socket.send_str("next")
                await until(lambda: takes(server))
                camera_manager.emit("cam", result(side=600, brightness=brightness))
                message = await socket.receive(timeout=20)
                assert message.type == WSMsgType.BINARY
                image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
                assert image is not None
                assert image.shape == (480, 480, 3)
                assert abs(int(image[240, 240, 0]) - brightness) < 10

    visit(server, scene)
    visit(server, wishes)


def test_a_request_returns_the_newest_frame(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager, video_per_s=60.0)

    async def scene(session: ClientSession) -> None:
        async with session.ws_connect("/video/cam") as socket:
            await until(lambda: server._video.viewers == 1)
            for brightness in (20, 120, 240):
                await until(lambda: takes(server))
                camera_manager.emit("cam", result(brightness=brightness))
            await until(lambda: takes(server))
            assert server._video.encoded == 3
            await socket.send_str("next")
            message = await socket.receive(timeout=20)
            image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            assert image[32, 32, 0] > 230

    visit(server, scene)


def test_a_long_message_of_a_client_closes_its_socket(serving: Serving, camera_manager: FakeManager) -> None:
    server = serving(camera_manager)

    async def scene(session: ClientSession) -> None:
        async with session.ws_connect("/video/cam") as socket:
            await until(lambda: server._video.viewers == 1)
            await socket.send_str("x" * 5000)
            assert (await socket.receive(timeout=20)).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
        await until(lambda: server._video.viewers == 0)

    visit(server, scene)


def test_closing_the_server_ends_sockets_within_a_second(
    serving: Serving, camera_manager: FakeManager
) -> None:
    server = serving(camera_manager)

    async def scene(session: ClientSession) -> None:
        async with session.ws_connect("/api/results") as socket, session.ws_connect("/video/cam"):
            await receive(socket, "state")
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await asyncio.to_thread(server.close)
            assert loop.time() - began_s < 1.5, "it waits for a second at most"
            await until(lambda: not server._thread.is_alive())

    visit(server, scene)
