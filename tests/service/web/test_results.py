from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np

from edgevision.contract.results import Classification, Segmentation
from edgevision.service.web.results import ResultHub, Subscriber
from tests.service.web.fake_manager import result


async def messages(hub: ResultHub, subscriber: Subscriber) -> list[dict[str, Any]]:
    async def within() -> list[str]:
        return await hub.next(subscriber, lambda: '{"type":"state"}')

    return [json.loads(text) for text in await asyncio.wait_for(within(), 10)]


def entered(hub: ResultHub, *cameras: str, per_s: float | None = None) -> Subscriber:
    subscriber = hub.enter(frozenset(cameras) or None, per_s)
    assert subscriber is not None
    subscriber.state_due = False
    return subscriber


async def hub_of(most: int = 3) -> ResultHub:
    hub = ResultHub(most)
    hub.start(asyncio.get_running_loop())
    return hub


def test_a_slow_client_gets_the_newest_result_and_the_missed_count() -> None:
    async def scene() -> None:
        hub = await hub_of()
        subscriber = entered(hub)
        hub.offer("cam", result(index=0))
        (first,) = await messages(hub, subscriber)
        for index in range(1, 8):
            hub.offer("cam", result(index=index))
        (second,) = await messages(hub, subscriber)
        assert (first["frame"], first["missed"]) == (0, 0)
        assert (second["frame"], second["missed"]) == (7, 6)
        assert hub.missed == 6
        assert second["type"] == "result"
        assert second["camera"] == "cam"
        assert second["detections"][0]["class"] == "person"
        assert list(second["stages_ms"]) == ["decode", "prepare", "inference", "results", "output"]

    asyncio.run(scene())


def test_results_before_a_client_are_neither_sent_nor_missed() -> None:
    async def scene() -> None:
        hub = await hub_of()
        for index in range(5):
            hub.offer("cam", result(index=index))
        subscriber = entered(hub)
        hub.offer("cam", result(index=5))
        (only,) = await messages(hub, subscriber)
        assert (only["frame"], only["missed"]) == (5, 0)

    asyncio.run(scene())


def test_a_slow_camera_is_not_hidden_by_a_fast_one() -> None:
    async def scene() -> None:
        hub = await hub_of()
        subscriber = entered(hub)
        hub.offer("slow", result(index=1))
        for index in range(50):
            hub.offer("fast", result(index=index))
        got = {message["camera"]: message["frame"] for message in await messages(hub, subscriber)}
        assert got == {"slow": 1, "fast": 49}

    asyncio.run(scene())


def test_only_requested_cameras_are_sent() -> None:
    async def scene() -> None:
        hub = await hub_of()
        subscriber = entered(hub, "b")
        for camera in ("a", "b", "c"):
            hub.offer(camera, result())
        assert [message["camera"] for message in await messages(hub, subscriber)] == ["b"]

    asyncio.run(scene())


def test_a_rate_that_was_asked_for_is_kept_and_the_last_result_is_not_lost() -> None:
    async def scene() -> None:
        hub = await hub_of()
        subscriber = entered(hub, per_s=20)
        loop = asyncio.get_running_loop()
        hub.offer("cam", result(index=0))
        (first,) = await messages(hub, subscriber)
        began_s = loop.time()
        hub.offer("cam", result(index=1))
        hub.offer("cam", result(index=2))
        (second,) = await messages(hub, subscriber)
        assert (first["frame"], second["frame"]) == (0, 2)
        hub.offer("cam", result(index=3))
        await messages(hub, subscriber)
        assert loop.time() - began_s > 0.04, "two periods of 50 ms, of which one may be caught up with"

    asyncio.run(scene())


def test_a_result_is_serialized_once_for_all_clients() -> None:
    async def scene() -> None:
        hub = await hub_of()
        subscribers = [entered(hub) for _ in range(3)]
        hub.offer("cam", result(index=4))
        texts = []
        for subscriber in subscribers:
            texts += await hub.next(subscriber, str)
        assert len(set(texts)) == 1
        assert len(hub._texts) == 1

    asyncio.run(scene())


def test_there_is_room_for_so_many() -> None:
    async def scene() -> None:
        hub = await hub_of(most=2)
        one, _ = entered(hub), entered(hub)
        assert hub.enter(None, None) is None
        hub.leave(one)
        assert hub.enter(None, None) is not None

    asyncio.run(scene())


def test_no_result_is_kept_without_clients() -> None:
    async def scene() -> None:
        hub = await hub_of()
        hub.offer("cam", result())
        assert not hub._newest
        subscriber = entered(hub)
        hub.offer("cam", result())
        assert hub._newest
        await messages(hub, subscriber)
        hub.leave(subscriber)
        assert not hub._newest
        assert not hub._texts

    asyncio.run(scene())


def test_the_state_is_sent_first_and_with_every_tick() -> None:
    async def scene() -> None:
        hub = await hub_of()
        subscriber = hub.enter(None, None)
        assert subscriber is not None
        assert await messages(hub, subscriber) == [{"type": "state"}]
        hub.tick()
        assert await messages(hub, subscriber) == [{"type": "state"}]

    asyncio.run(scene())


def test_other_tasks_than_detection() -> None:
    async def scene() -> None:
        hub = await hub_of()
        subscriber = entered(hub)
        hub.offer("cam", result(found=Classification(np.array([0.3, 0.7], np.float32), ("cat", "dog"))))
        (classified,) = await messages(hub, subscriber)
        assert classified["classification"][0]["class"] == "dog"
        hub.offer("cam", result(found=Segmentation(np.ones((64, 64), np.uint8), ("road", "sky"))))
        (segmented,) = await messages(hub, subscriber)
        assert segmented["segmentation"][0] == {"label": 1, "class": "sky", "share": 1.0}

    asyncio.run(scene())
