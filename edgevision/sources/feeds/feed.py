"""What a live feed is: one connection to a camera, which ends with the first fault."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.contract.image import Frame
from edgevision.sources.frames import CaptureClock

Thumbnail = npt.NDArray[np.uint8]
"""Grey levels ``[h,w]``, 0 to 255: the picture thinned out, not averaged, so that its noise stays as it is."""
THUMBNAIL_WIDTH = 160


@dataclass(frozen=True, slots=True, eq=False)
class FeedFrame:
    """A decoded picture that is not BGR yet: most of a fast camera's pictures are dropped before they need be."""

    to_bgr: Callable[[], Frame]
    """Makes an array that the caller owns; may be called in another thread, and after the feed was closed."""
    thumbnail: Thumbnail
    size_wh: tuple[int, int]
    captured_ns: int
    captured_at: float
    clock: CaptureClock
    decode_ns: int
    damaged: bool = False
    """The decoder says that parts of it were lost."""
    stamp_ns: int | None = None
    """By the camera's own count of time, from which missing frames show; None where there is none."""


class Feed(abc.ABC):
    """An open connection. One thread reads and closes it; only `interrupt` may be called from another one."""

    fps: float | None = None

    @abc.abstractmethod
    def read(self) -> FeedFrame:
        """The next picture. Raises `SourceError` when none comes in time or no more can come; the feed is then over."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give the device or connection back."""

    def interrupt(self) -> None:  # noqa: B027  # what cannot be interrupted ends by its read time-out
        """End a `read` that waits, where the library can do that."""


def thumbnail_of(frame_bgr: Frame) -> Thumbnail:
    """Of a BGR picture: its green channel, which is most of its brightness."""
    return thin_out(frame_bgr[:, :, 1])


def thin_out(plane: npt.NDArray[np.uint8]) -> Thumbnail:
    """Every n-th pixel of every n-th line, about `THUMBNAIL_WIDTH` a line; a copy."""
    step = max(1, plane.shape[1] // THUMBNAIL_WIDTH)
    return np.ascontiguousarray(plane[step // 2 :: step, step // 2 :: step])
