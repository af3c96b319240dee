"""Base class of all sinks, and their health."""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, TypeVar

import numpy as np

from edgevision.contract.image import Frame
from edgevision.errors import SinkError
from edgevision.sinks.frame_result import FrameResult

S = TypeVar("S", bound="Sink")


@dataclass(frozen=True, slots=True)
class SinkHealth:
    """Health of a sink at one moment; counts are totals since it was opened."""

    name: str
    """Public name, without passwords."""
    state: Literal["working", "failing"]
    written: int
    """Results written."""
    waiting: int
    """Results in its queue."""
    lost: int
    """Results lost."""
    last_error: str | None
    """None without an error."""


class RefusedError(SinkError):
    """The receiver rejects the content; a retry is useless."""


class BusyError(SinkError):
    """The receiver requests a pause of `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Sink(abc.ABC):
    """The base of all sinks. A failed write raises `SinkError`, on opening if it can be detected then.

    After a failed write, nothing of that result is left, and it may be written again.
    """

    annotated = False
    """True if `write` expects the result drawn into the frame's image."""
    takes_images = True
    """False if `write` and `keep` use the frame's image rarely or never. Without a sink that takes images, a camera's
    frames are scaled before they are converted to BGR.
    """
    parallel = False
    """True if `write` may run in a worker thread, one result after another; for sinks that encode images."""
    written = 0
    """Number of results written; each sink updates it."""
    lost = 0
    """Number of results dropped without an error."""
    batch_size = 1
    """Maximum number of results per call of `deliver`."""

    @abc.abstractmethod
    def write(self, processed: FrameResult) -> None:
        """Write one frame's result."""

    @abc.abstractmethod
    def close(self) -> None:
        """Complete the output; a second call does nothing."""

    def end(self) -> None:  # noqa: B027  # most close at once
        """Start to close without waiting, so that several sinks close in parallel."""

    @property
    def public_name(self) -> str:
        """Name without secrets."""
        return type(self).__name__

    @property
    def health(self) -> SinkHealth:
        """Current health."""
        return SinkHealth(self.public_name, "working", self.written, 0, self.lost, None)

    def keep(self, processed: FrameResult) -> FrameResult | None:
        """The part of a result that `deliver` needs later, as small as possible; None: nothing.

        By default everything, with a copy of the image, because others may draw into it.
        """
        if self.annotated:  # already drawn
            return processed
        return replace(processed, frame=processed.frame.with_image(processed.frame.image_bgr.copy()))

    def deliver(self, batch: Sequence[FrameResult]) -> None:
        """Write results from `keep`, at most `batch_size`."""
        for processed in batch:
            self.write(processed)

    def tidy(self) -> None:  # noqa: B027  # most have nothing to do
        """Called occasionally while the queue is empty, for periodic work."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def close_sinks(sinks: Iterable[Sink]) -> None:
    """Close all sinks, even if one raises; the error is raised afterwards."""
    with contextlib.ExitStack() as closing:
        for sink in list(sinks):
            closing.callback(sink.close)
            sink.end()


def without_image(processed: FrameResult) -> FrameResult:
    """The result with a black image of the same size that takes no memory."""
    return replace(processed, frame=processed.frame.with_image(_black(processed.frame.size_wh)))


@functools.lru_cache(maxsize=16)
def _black(size_wh: tuple[int, int]) -> Frame:
    return np.broadcast_to(np.uint8(0), (size_wh[1], size_wh[0], 3))
