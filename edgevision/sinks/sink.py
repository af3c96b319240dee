"""What every sink is, and how one fares."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TypeVar

from edgevision.processed import Processed

S = TypeVar("S", bound="Sink")


@dataclass(frozen=True, slots=True)
class SinkHealth:
    """A sink at one moment; counts are since it was opened."""

    name: str
    """How others may read it: without passwords."""
    state: Literal["working", "failing"]
    written: int
    """Results that it has taken in hand for good."""
    waiting: int
    """Results that still wait for it."""
    lost: int
    """Results that it gave up."""
    last_error: str | None
    """None while nothing has gone wrong."""


class Sink(abc.ABC):
    """The base of all sinks. One that cannot write raises `SinkError`: on opening where that can be known by then."""

    annotated = False
    """True if `write` wants the result drawn into the frame's image before."""
    written = 0
    """Results that were written; each sink keeps count."""
    lost = 0
    """Results that could not be written, where that is no error."""

    @abc.abstractmethod
    def write(self, processed: Processed) -> None:
        """Take one frame and its result."""

    @abc.abstractmethod
    def close(self) -> None:
        """Finish what was written; a second call does nothing."""

    @property
    def public_name(self) -> str:
        """What it may be called where others can read it."""
        return type(self).__name__

    @property
    def health(self) -> SinkHealth:
        """How it fares."""
        return SinkHealth(self.public_name, "working", self.written, 0, self.lost, None)

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
