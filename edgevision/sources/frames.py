"""Frames as they come from a source, and what every source is."""

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

from edgevision.contract.image import Frame
from edgevision.sources.health import FrameCounts, SourceHealth

S = TypeVar("S", bound="Source")

CaptureClock = Literal["arrival", "stream", "camera"]
"""Where a capture time comes from: the moment at which the frame reached this program; the stream's time stamps,
which tell how much later than the least delayed frame one came; or the camera's own clock, as RTCP reports carry it."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceFrame:
    """One frame and where it comes from. Whoever reads it owns `image_bgr`."""

    image_bgr: Frame
    index: int
    """Counts what the source delivered, from 0; a live source that was faster than its reader leaves gaps."""
    source: str
    """The source's name; for a folder the image's path."""
    captured_ns: int
    """`time.perf_counter_ns` when a camera delivered the frame, or when reading it from a file began."""
    captured_at: float
    """The same moment in seconds since 1970."""
    position_s: float | None
    """Time within a video."""
    decode_ns: int
    clock: CaptureClock = "arrival"
    """What `captured_ns` and `captured_at` were taken from."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image_bgr.shape[1], self.image_bgr.shape[0]


class Source(abc.ABC):
    """The base of all sources: iterate over it, or call `read` until it gives None.

    A loop over several sources calls `poll`, which waits for no camera. One thread reads or polls. `close` of a live
    source may be called by another one and ends a `read` that waits.
    """

    def __init__(self, name: str, *, live: bool, fps: float | None, frame_count: int | None) -> None:
        self.name = name
        self.live = live
        """True if frames come by themselves: what is not read in time is dropped."""
        self.fps = fps
        self.frame_count = frame_count
        """As the file or folder promises it; None where that is not known."""
        self.size_wh = (0, 0)
        """Of the first frame, which a source reads when it is opened; later ones may differ. (0, 0) before it."""
        self.lost = FrameCounts()
        """Frames that led to no result; the pipeline counts the late ones, and those that it replaces itself."""
        self.skipped = 0
        """Files of a folder that could not be decoded."""
        self.ended = False
        """True once nothing will come any more."""
        self.path: Path | None = None
        """Of a file or folder: where it is, whatever it is called."""
        self.frame_event: threading.Event | None = None
        """Set by those who poll: a live source rings it when a frame has come and when it has ended."""

    @abc.abstractmethod
    def read(self) -> SourceFrame | None:
        """The next frame (of a live source: the newest, waiting for one not yet read), or None at the end.

        A camera that stops delivering is waited for. Raises `SourceError` if it was told to give up after some time.
        """

    def poll(self) -> SourceFrame | None:
        """Of a live source the newest frame not yet read, or None at once; of files the same as `read`.

        None with `ended` is the end. Raises as `read` does.
        """
        frame = self.read()
        self.ended = frame is None
        return frame

    @property
    def health(self) -> SourceHealth:
        """Outages and withheld frames up to now; of files and folders there are none."""
        return SourceHealth(lost=replace(self.lost))

    def _notify(self) -> None:
        """Tell those who poll that there is something to see."""
        if (frame_event := self.frame_event) is not None:
            frame_event.set()

    @abc.abstractmethod
    def close(self) -> None:
        """Give back files and devices; a second call does nothing."""

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
        """Decode the frame fetched last."""

    def get(self, propId: int) -> float:  # noqa: N803  # OpenCV's name
        """A property's value."""

    def release(self) -> None:
        """Close."""


def read_now(frame: SourceFrame) -> SourceFrame:
    """A file's frame as if reading it had begun just before: a first frame that was read on opening has not aged."""
    captured_ns, captured_at = time.perf_counter_ns() - frame.decode_ns, time.time() - frame.decode_ns / 1e9
    return replace(frame, captured_ns=captured_ns, captured_at=captured_at)


def known(value: float) -> float | None:
    """OpenCV says "not known" by zero, by a negative number or by NaN."""
    return float(value) if math.isfinite(value) and value > 0 else None
