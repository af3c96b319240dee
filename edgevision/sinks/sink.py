"""What every sink is, and how one fares."""

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
    """A sink at one moment; counts are since it was opened."""

    name: str
    """How others may read it: without passwords."""
    state: Literal["working", "failing"]
    written: int
    """Results that are where they belong."""
    waiting: int
    """Results that still wait for it."""
    lost: int
    """Results that it gave up."""
    last_error: str | None
    """None while nothing has gone wrong."""


class RefusedError(SinkError):
    """What was written is not wanted, now or later: trying again is of no use."""


class BusyError(SinkError):
    """The other side asks to be left alone for `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Sink(abc.ABC):
    """The base of all sinks. One that cannot write raises `SinkError`: on opening where that can be known by then.

    After an error on writing nothing of that result is left half done, and the same one may be written again.
    """

    annotated = False
    """True if `write` wants the result drawn into the frame's image before."""
    written = 0
    """Results that were written; each sink keeps count."""
    lost = 0
    """Results that were given up, where that is no error."""
    batch_size = 1
    """How many results `deliver` takes at a time."""

    @abc.abstractmethod
    def write(self, processed: FrameResult) -> None:
        """Take one frame and its result."""

    @abc.abstractmethod
    def close(self) -> None:
        """Finish what was written; a second call does nothing."""

    def end(self) -> None:  # noqa: B027  # most close at once
        """Begin to close, without waiting: of many sinks that have to wait, none waits for another."""

    @property
    def public_name(self) -> str:
        """What it may be called where others can read it."""
        return type(self).__name__

    @property
    def health(self) -> SinkHealth:
        """How it fares."""
        return SinkHealth(self.public_name, "working", self.written, 0, self.lost, None)

    def keep(self, processed: FrameResult) -> FrameResult | None:
        """What of a result `deliver` needs when the pipeline has gone on, as little as possible; None: nothing of it.

        By default everything; of an image that others may draw into, a copy.
        """
        if self.annotated:  # it is drawn already
            return processed
        frame = replace(processed.frame, image_bgr=processed.frame.image_bgr.copy())
        return replace(processed, frame=frame)

    def deliver(self, batch: Sequence[FrameResult]) -> None:
        """Write what `keep` gave, `batch_size` at most."""
        for processed in batch:
            self.write(processed)

    def tidy(self) -> None:  # noqa: B027  # most have nothing to do
        """Called now and then while nothing waits, for what must be done in time."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def close_sinks(sinks: Iterable[Sink]) -> None:
    """Close all of them, whatever one of them raises; that is raised afterwards."""
    with contextlib.ExitStack() as closing:
        for sink in list(sinks):
            closing.callback(sink.close)
            sink.end()


def without_image(processed: FrameResult) -> FrameResult:
    """The same with a black image of the same size that takes no memory."""
    image = _black(processed.frame.image_bgr.shape)
    return replace(processed, frame=replace(processed.frame, image_bgr=image))


@functools.lru_cache(maxsize=16)
def _black(shape: tuple[int, ...]) -> Frame:
    return np.broadcast_to(np.uint8(0), shape)
