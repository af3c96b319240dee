"""Frames of a source, and the base class of all sources."""

from __future__ import annotations

import abc
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from edgevision.contract.image import Frame
from edgevision.contract.pixels import FramePixels
from edgevision.sources.health import FrameCounts, SourceHealth

S = TypeVar("S", bound="Source")

CaptureClock = Literal["arrival", "stream", "camera"]
"""Origin of a capture time: arrival in this program; the stream's time stamps, which give the delay relative to the
least delayed frame; or the camera's own clock, from RTCP reports.
"""


@dataclass(frozen=True, slots=True, eq=False)
class SourceFrame:
    """One frame with its origin. The reader owns `image_bgr`."""

    pixels: Frame | FramePixels
    """The frame in BGR, or in its decoder's format until `image_bgr` is used."""
    index: int
    """Number of the frame, from 0; dropped frames of a live source leave gaps."""
    source: str
    """The source's name; for a folder, the image's path."""
    captured_ns: int
    """`time.perf_counter_ns` when a camera delivered the frame, or when reading it from a file began."""
    captured_at: float
    """The same moment in seconds since 1970."""
    position_s: float | None
    """Time within a video."""
    decode_ns: int
    clock: CaptureClock = "arrival"
    """Origin of `captured_ns` and `captured_at`."""

    @property
    def image_bgr(self) -> Frame:
        """The frame, uint8 ``[H,W,3]``; a frame in another format is converted at the first access."""
        return self.pixels if isinstance(self.pixels, np.ndarray) else self.pixels.image_bgr

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if isinstance(self.pixels, np.ndarray):
            return self.pixels.shape[1], self.pixels.shape[0]
        return self.pixels.size_wh

    def with_image(self, image_bgr: Frame) -> SourceFrame:
        """The frame with another image."""
        return replace(self, pixels=image_bgr)


class Source(abc.ABC):
    """The base of all sources: iterate over it, or call `read` until it returns None.

    A loop over several sources calls `poll`, which does not wait for a camera. One thread reads or polls. Another
    thread may `close` a live source, which ends a waiting `read`.
    """

    def __init__(self, name: str, *, live: bool, fps: float | None, frame_count: int | None) -> None:
        self.name = name
        self.live = live
        """True for a camera, which drops frames that are not read in time."""
        self.fps = fps
        self.frame_count = frame_count
        """According to the file or folder; None if unknown."""
        self.size_wh = (0, 0)
        """Size of the first frame, which a source reads on opening; later ones may differ. (0, 0) before it."""
        self.lost = FrameCounts()
        """Frames without a result; the pipeline counts late frames, and frames that it replaces itself."""
        self.skipped = 0
        """Files of a folder that could not be decoded."""
        self.ended = False
        """True once no more frames can come."""
        self.path: Path | None = None
        """Path of a file or folder, whatever the source's name."""
        self.frame_event: threading.Event | None = None
        """Set by the poller; a live source sets the event on a new frame and at its end."""

    @abc.abstractmethod
    def read(self) -> SourceFrame | None:
        """The next frame (of a live source: the newest unread one, waiting if necessary), or None at the end.

        Waits during outages of a camera. Raises `SourceError` if an outage exceeds its limit.
        """

    def poll(self) -> SourceFrame | None:
        """The newest unread frame of a live source, or None at once; for files the same as `read`.

        None with `ended` is the end. Raises like `read`.
        """
        frame = self.read()
        self.ended = frame is None
        return frame

    def use_planes(self) -> None:  # noqa: B027  # most sources have frames in one form
        """Deliver frames in the decoder's planes if possible, for graphs that take them.

        Call it before the first `read`.
        """

    @property
    def health(self) -> SourceHealth:
        """Current outages and withheld frames; files and folders have none."""
        return SourceHealth(lost=replace(self.lost))

    def _notify(self) -> None:
        """Set the poller's event."""
        if (frame_event := self.frame_event) is not None:
            frame_event.set()

    @abc.abstractmethod
    def close(self) -> None:
        """Release files and devices; a second call does nothing."""

    def __iter__(self) -> Iterator[SourceFrame]:
        while (frame := self.read()) is not None:
            yield frame

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used here."""

    def grab(self) -> bool:
        """Fetch the next frame without decoding it fully."""

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the last fetched frame."""

    def get(self, propId: int) -> float:  # noqa: N803  # OpenCV's name
        """A property's value."""

    def release(self) -> None:
        """Close."""


def read_now(frame: SourceFrame) -> SourceFrame:
    """A file's frame with a current capture time, because a first frame read on opening has not aged."""
    captured_ns, captured_at = time.perf_counter_ns() - frame.decode_ns, time.time() - frame.decode_ns / 1e9
    return replace(frame, captured_ns=captured_ns, captured_at=captured_at)


def known(value: float) -> float | None:
    """The value, or None for zero, negative numbers and NaN, which OpenCV returns for unknown values."""
    return float(value) if math.isfinite(value) and value > 0 else None
