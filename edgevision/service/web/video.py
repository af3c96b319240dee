"""Annotated pictures as JPEG: made once for all viewers of a camera, and only while there are any."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass, field, replace

import cv2

from edgevision.drawing.observation import annotate
from edgevision.service.web.options import PageOptions
from edgevision.service.web.scaling import scaled_to_width
from edgevision.sinks.frame_result import FrameResult

log = logging.getLogger(__name__)

WIDTHS = (320, 480, 640, 960, 1280)
"""Pictures are made in these widths, so that viewers with windows of any size share a few."""
BUSY_SHARE = 0.5
"""The encoder works for so much of its time at most: it leaves out pictures rather than take more."""
LONGEST_REST_S = 0.5
NICENESS = 5
"""By how much the encoder steps behind the pipeline where the system lets one thread do so."""


@dataclass(eq=False, slots=True)
class Viewer:
    """One who looks at a camera; belongs to the server's loop."""

    camera: str
    width: int
    fresh: asyncio.Event = field(default_factory=asyncio.Event)
    picture: bytes = b""

    async def next(self) -> bytes:
        """The newest picture that this viewer has not had; waits for it."""
        await self.fresh.wait()
        self.fresh.clear()
        return self.picture


@dataclass(slots=True)
class _Wanted:
    """A camera that is looked at, as the encoder's thread sees it."""

    newest: FrameResult | None = None
    """With an image that is the hub's own."""
    due_s: float = 0.0


class VideoHub:
    """Pictures of all cameras for all viewers.

    `offer` is called in the pipeline's thread; it copies a frame when a picture is due and somebody looks, no more. A
    thread of the hub's own draws, scales and encodes, and hands the picture to the viewers, each of which keeps only
    the newest: neither a slow viewer nor the encoder holds anybody up. All other methods are called in the server's
    loop.
    """

    def __init__(self, options: PageOptions) -> None:
        self._options = options
        self._period_s = 1 / options.video_per_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._viewers: dict[str, set[Viewer]] = {}
        self._wanted: dict[str, _Wanted] = {}
        self._frame_event = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._encode_all, name="page video", daemon=True)
        self.encoded = 0
        """Frames that were drawn and encoded."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to work for a loop."""
        self._loop = loop
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; does not wait for it."""
        self._closing.set()
        self._frame_event.set()

    @property
    def viewers(self) -> int:
        """How many look."""
        return sum(len(viewers) for viewers in self._viewers.values())

    def offer(self, camera: str, processed: FrameResult) -> None:
        """Take notice of a result. The image is copied, for sinks draw into it afterwards."""
        wanted = self._wanted.get(camera)
        now_s = time.monotonic()
        if wanted is None or wanted.newest is not None or now_s < wanted.due_s:
            return
        # One period late is caught up with, so that the rate is kept on average; no more, for the sake of bursts.
        wanted.due_s = max(wanted.due_s, now_s - self._period_s) + self._period_s
        frame = replace(processed.frame, image_bgr=processed.frame.image_bgr.copy())
        wanted.newest = replace(processed, frame=frame)
        self._frame_event.set()

    def enter(self, camera: str, width: int | None) -> Viewer | None:
        """Somebody looks; None if as many look at the camera already as are allowed to."""
        viewers = self._viewers.setdefault(camera, set())
        if len(viewers) >= self._options.max_clients:
            return None
        viewer = Viewer(camera, _nearest_width(width or self._options.video_width))
        viewers.add(viewer)
        self._wanted.setdefault(camera, _Wanted())
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Somebody looks no more."""
        viewers = self._viewers.get(viewer.camera, set())
        viewers.discard(viewer)
        if not viewers:
            self._viewers.pop(viewer.camera, None)
            self._wanted.pop(viewer.camera, None)

    def _encode_all(self) -> None:
        _step_behind()
        while True:
            self._frame_event.wait()
            if self._closing.is_set():
                return
            self._frame_event.clear()
            for camera, wanted in tuple(self._wanted.items()):  # a copy, for the loop's thread changes it
                if self._closing.is_set():
                    return
                processed = wanted.newest
                if processed is None:
                    continue
                began_s = time.monotonic()
                self._encode(camera, processed)
                rest_s = (time.monotonic() - began_s) * (1 / BUSY_SHARE - 1)
                time.sleep(min(rest_s, LONGEST_REST_S))
                wanted.newest = None  # only now: until then a newer frame would be copied for nothing

    def _encode(self, camera: str, processed: FrameResult) -> None:
        widths = {viewer.width for viewer in tuple(self._viewers.get(camera, ()))}
        if not widths or self._loop is None:
            return
        try:
            pictures = {width: picture_of(processed, width, self._options.jpeg_quality) for width in widths}
        except Exception:  # of one frame: the next may be better, and the page must not go dark for it
            log.exception("cannot draw a picture of %s", camera)
            return
        self.encoded += 1
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._deliver, camera, pictures)

    def _deliver(self, camera: str, pictures: dict[int, bytes]) -> None:
        for viewer in self._viewers.get(camera, ()):
            if viewer.width in pictures:
                viewer.picture = pictures[viewer.width]
                viewer.fresh.set()


def picture_of(processed: FrameResult, width: int, quality: int) -> bytes:
    """A JPEG of at most that width with the result drawn in; what it is made of stays as it is."""
    small = scaled_to_width(processed, width)
    annotate(small.frame.image_bgr, small.result, small.observation)
    _, data = cv2.imencode(".jpg", small.frame.image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _nearest_width(width: int) -> int:
    """The smallest of `WIDTHS` that is no smaller, else the largest."""
    return next((known for known in WIDTHS if known >= width), WIDTHS[-1])


def _step_behind() -> None:
    """On Linux each thread has a niceness of its own."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
