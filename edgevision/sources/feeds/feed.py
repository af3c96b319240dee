"""Interface of a live feed: one connection to a camera, which ends at the first fault."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.contract.image import Frame
from edgevision.contract.pixels import FramePixels
from edgevision.sources.demand import Demand
from edgevision.sources.frames import CaptureClock

Thumbnail = npt.NDArray[np.uint8]
"""Grey levels ``[h,w]``, 0 to 255: a subsampled frame. It is not averaged, so that the noise stays unchanged."""
THUMBNAIL_WIDTH = 160


@dataclass(frozen=True, slots=True, eq=False)
class FeedFrame:
    """A decoded frame before conversion to BGR; most frames of a fast camera are dropped before it."""

    pixels: Frame | FramePixels
    """The reader owns it; may be converted in another thread, and after the feed was closed."""
    thumbnail: Thumbnail
    size_wh: tuple[int, int]
    captured_ns: int
    captured_at: float
    clock: CaptureClock
    decode_ns: int
    damaged: bool = False
    """True if the decoder reports missing parts."""
    stamp_ns: int | None = None
    """Time stamp of the camera, which reveals missing frames; None if there is none."""
    skipped_ns: tuple[int, ...] = ()
    """Time stamps of the frames before this one that were not decoded, because nothing was going to take them."""

    @property
    def image_bgr(self) -> Frame:
        """The frame, uint8 ``[H,W,3]``; a frame in another format is converted at the first access."""
        return self.pixels if isinstance(self.pixels, np.ndarray) else self.pixels.image_bgr


class Feed(abc.ABC):
    """An open connection. One thread reads and closes it; only `interrupt` may be called from another one."""

    fps: float | None = None
    demand: Demand | None = None
    """When the next frame is taken; a feed may leave frames undecoded that would be dropped. None: decode all."""

    @abc.abstractmethod
    def read(self) -> FeedFrame:
        """The next frame. Raises `SourceError` if none arrives in time or the stream has ended; the feed is then
        unusable.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release the device or connection."""

    def interrupt(self) -> None:  # noqa: B027  # other feeds end by their read time-out
        """End a waiting `read`, if the library supports that."""


def thumbnail_of(frame_bgr: Frame) -> Thumbnail:
    """Thumbnail of a BGR frame: its green channel, which approximates the brightness."""
    return thin_out(frame_bgr[:, :, 1])


def thin_out(plane: npt.NDArray[np.uint8]) -> Thumbnail:
    """Every n-th pixel of every n-th line, about `THUMBNAIL_WIDTH` per line; a copy."""
    step = max(1, plane.shape[1] // THUMBNAIL_WIDTH)
    return np.ascontiguousarray(plane[step // 2 :: step, step // 2 :: step])
