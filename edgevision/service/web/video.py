"""Annotated video frames as JPEG, encoded once for all viewers of a camera and only while there are any."""

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

from edgevision.contract.results import Translation
from edgevision.drawing.annotate import side_by_side
from edgevision.drawing.observation import annotate
from edgevision.service.web.options import PageOptions
from edgevision.service.web.scaling import scaled_to_width
from edgevision.sinks.frame_result import FrameResult

log = logging.getLogger(__name__)

WIDTHS = (320, 480, 640, 960, 1280)
"""Available widths, so that viewers with windows of any size share a few encodings."""
BUSY_SHARE = 0.5
"""Maximum share of its time in which the encoder works; it drops frames to stay below."""
LONGEST_REST_S = 0.5
NICENESS = 5
"""Niceness of the encoder's thread, so that the pipeline has priority, on systems that support it."""


@dataclass(eq=False, slots=True)
class Viewer:
    """A viewer of a camera; used only in the server's loop."""

    camera: str
    width: int
    fresh: asyncio.Event = field(default_factory=asyncio.Event)
    picture: bytes = b""

    async def next(self) -> bytes:
        """The newest frame not yet sent to this viewer; waits for it."""
        await self.fresh.wait()
        self.fresh.clear()
        return self.picture


@dataclass(slots=True)
class _Wanted:
    """A camera with viewers, in the encoder's thread."""

    newest: FrameResult | None = None
    """A result whose image belongs to the hub."""
    due_s: float = 0.0


class VideoHub:
    """Video frames of all cameras for all viewers.

    `offer` runs in the pipeline's thread. It copies a frame if one is due and the camera has viewers. The hub's own
    thread draws, scales and encodes, and passes the JPEG to the viewers. Each viewer keeps only the newest, so that a
    slow viewer or the encoder never blocks others. All other methods run in the server's loop.
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
        """Number of frames drawn and encoded."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the loop of the server and start the encoder."""
        self._loop = loop
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; does not wait for it."""
        self._closing.set()
        self._frame_event.set()

    @property
    def viewers(self) -> int:
        """Number of viewers."""
        return sum(len(viewers) for viewers in self._viewers.values())

    def offer(self, camera: str, processed: FrameResult) -> None:
        """Receive a result. The image is copied, because sinks draw into it afterwards."""
        wanted = self._wanted.get(camera)
        now_s = time.monotonic()
        if wanted is None or wanted.newest is not None or now_s < wanted.due_s:
            return
        # A delay of up to one period is made up, to keep the average rate; more would cause bursts.
        wanted.due_s = max(wanted.due_s, now_s - self._period_s) + self._period_s
        image = processed.frame.image_bgr.copy()
        wanted.newest = replace(processed, frame=processed.frame.with_image(image))
        self._frame_event.set()

    def enter(self, camera: str, width: int | None) -> Viewer | None:
        """Add a viewer; None if the camera has the maximum number."""
        viewers = self._viewers.setdefault(camera, set())
        if len(viewers) >= self._options.max_clients:
            return None
        viewer = Viewer(camera, _nearest_width(width or self._options.video_width))
        viewers.add(viewer)
        self._wanted.setdefault(camera, _Wanted())
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer."""
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
            for camera, wanted in tuple(self._wanted.items()):  # a copy, because the loop's thread changes it
                if self._closing.is_set():
                    return
                processed = wanted.newest
                if processed is None:
                    continue
                began_s = time.monotonic()
                self._encode(camera, processed)
                rest_s = (time.monotonic() - began_s) * (1 / BUSY_SHARE - 1)
                time.sleep(min(rest_s, LONGEST_REST_S))
                wanted.newest = None  # only now; earlier, a newer frame would be copied in vain

    def _encode(self, camera: str, processed: FrameResult) -> None:
        widths = {viewer.width for viewer in tuple(self._viewers.get(camera, ()))}
        if not widths or self._loop is None:
            return
        try:
            pictures = {width: picture_of(processed, width, self._options.jpeg_quality) for width in widths}
        except Exception:  # affects one frame only; the page must continue
            log.exception("cannot draw a frame of %s", camera)
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
    """A JPEG of at most that width with the result drawn in, or beside the frame; the inputs stay unchanged."""
    if isinstance(processed.result, Translation):
        image = side_by_side(processed.frame.image_bgr, processed.result.image, width)
    else:
        small = scaled_to_width(processed, width)
        annotate(small.frame.image_bgr, small.result, small.observation)
        image = small.frame.image_bgr
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _nearest_width(width: int) -> int:
    """The smallest of `WIDTHS` that is at least this wide, else the largest."""
    return next((known for known in WIDTHS if known >= width), WIDTHS[-1])


def _step_behind() -> None:
    """Raise the niceness of the current thread; Linux has one per thread."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
