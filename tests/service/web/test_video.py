from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgevision.analytics.observation import Observation
from edgevision.contract.image import Frame
from edgevision.contract.results import Result
from edgevision.drawing.observation import annotate
from edgevision.service.web import video
from edgevision.service.web.options import PageOptions
from edgevision.service.web.video import WIDTHS, VideoHub, Viewer, picture_of
from tests.service.web.fake_manager import result


def decoded(jpeg: bytes) -> Frame:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def watch(scene: Callable[[VideoHub], Awaitable[None]], **options: object) -> VideoHub:
    """Play a scene in a loop with a hub that is closed after it."""
    hub = VideoHub(PageOptions(**options))  # type: ignore[arg-type]  # fields of PageOptions

    async def play() -> None:
        hub.start(asyncio.get_running_loop())
        try:
            await scene(hub)
        finally:
            hub.close()

    asyncio.run(play())
    return hub


def entered(hub: VideoHub, camera: str = "cam", width: int | None = None) -> Viewer:
    viewer = hub.enter(camera, width)
    assert viewer is not None
    return viewer


async def picture(viewer: Viewer) -> bytes:
    return await asyncio.wait_for(viewer.next(), 20)


def test_a_viewer_sees_the_frame_with_the_result_drawn_in() -> None:
    plain = result(side=128, brightness=90)

    async def scene(hub: VideoHub) -> None:
        viewer = entered(hub)
        hub.offer("cam", plain)
        seen = decoded(await picture(viewer))
        assert seen.shape == (128, 128, 3)
        assert int(np.ptp(seen.astype(int), axis=2).max()) > 60, "the box has a colour"
        assert abs(int(seen[64, 64, 0]) - 90) < 8

    watch(scene)
    assert (plain.frame.image_bgr == 90).all(), "the frame itself is others'"


def test_later_drawing_by_a_sink_is_not_in_the_video() -> None:
    async def scene(hub: VideoHub) -> None:
        viewer = entered(hub)
        processed = result(side=128, brightness=0)
        hub.offer("cam", processed)
        processed.frame.image_bgr[:] = 255
        assert decoded(await picture(viewer))[64, 64].max() < 20

    watch(scene)


def test_without_viewers_nothing_is_copied_and_nothing_encoded() -> None:
    async def scene(hub: VideoHub) -> None:
        entered(hub, "other")
        hub.offer("cam", result())
        assert "cam" not in hub._wanted

    assert watch(scene).encoded == 0


def test_a_frame_is_encoded_once_for_all_viewers_of_a_camera() -> None:
    async def scene(hub: VideoHub) -> None:
        viewers = [entered(hub) for _ in range(4)]
        hub.offer("cam", result())
        pictures = [await picture(viewer) for viewer in viewers]
        assert all(each is pictures[0] for each in pictures)

    assert watch(scene).encoded == 1


def test_encoding_leaves_its_inputs_unchanged() -> None:
    processed = result(side=64, brightness=77)
    assert decoded(picture_of(processed, 320, 80)).shape == (64, 64, 3)
    assert (processed.frame.image_bgr == 77).all()


def test_each_width_is_made_of_the_same_frame() -> None:
    async def scene(hub: VideoHub) -> None:
        small, large = entered(hub, width=300), entered(hub, width=5000)
        hub.offer("cam", result(side=2000))
        assert decoded(await picture(small)).shape[1] == 320
        assert decoded(await picture(large)).shape[1] == WIDTHS[-1]

    assert watch(scene).encoded == 1


def test_the_rate_is_limited() -> None:
    async def scene(hub: VideoHub) -> None:
        viewer = entered(hub)
        until_s = time.monotonic() + 0.6
        while time.monotonic() < until_s:
            hub.offer("cam", result())
            await asyncio.sleep(0.002)
        assert viewer.picture

    assert 1 <= watch(scene, video_per_s=10.0).encoded <= 8


def test_a_slow_viewer_gets_the_newest_frame_and_blocks_no_other() -> None:
    async def scene(hub: VideoHub) -> None:
        slow, fast = entered(hub), entered(hub)
        for brightness in (10, 120, 240):
            hub.offer("cam", result(brightness=brightness))
            await picture(fast)
            while hub._wanted["cam"].newest is not None or time.monotonic() < hub._wanted["cam"].due_s:
                await asyncio.sleep(0.005)
        assert decoded(await picture(slow))[32, 32, 0] > 230
        assert not slow.fresh.is_set()

    watch(scene, video_per_s=60.0)


def test_a_frame_that_cannot_be_drawn_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenOnceError(Exception):
        pass

    draw, calls = annotate, threading.Semaphore(1)

    def broken_once(frame_bgr: Frame, result: Result, observation: Observation | None) -> None:
        if calls.acquire(blocking=False):
            raise BrokenOnceError
        draw(frame_bgr, result, observation)

    monkeypatch.setattr(video, "annotate", broken_once)

    async def scene(hub: VideoHub) -> None:
        viewer = entered(hub)
        until_s = time.monotonic() + 20
        while not viewer.fresh.is_set():
            hub.offer("cam", result())
            await asyncio.sleep(0.01)
            assert time.monotonic() < until_s

    watch(scene)
    assert "cannot draw a frame of cam" in caplog.text


def test_the_number_of_viewers_per_camera_is_limited() -> None:
    async def scene(hub: VideoHub) -> None:
        viewers = [entered(hub) for _ in range(2)]
        assert hub.enter("cam", None) is None
        entered(hub, "another")
        hub.leave(viewers[0])
        entered(hub)
        assert hub.viewers == 3

    watch(scene, max_clients=2)


def test_a_camera_without_viewers_is_removed() -> None:
    async def scene(hub: VideoHub) -> None:
        viewer = entered(hub)
        hub.leave(viewer)
        hub.leave(viewer)
        assert not hub._wanted
        assert hub.viewers == 0

    watch(scene)


def test_an_offer_is_quick() -> None:
    """It happens in the pipeline's thread: no drawing, no scaling, no encoding."""

    async def scene(hub: VideoHub) -> None:
        entered(hub)
        big = result(side=1080)
        hub.offer("cam", big)
        began_s = time.perf_counter()
        for _ in range(1000):
            hub.offer("cam", replace(big))
        assert time.perf_counter() - began_s < 0.5

    watch(scene, video_per_s=1.0)
