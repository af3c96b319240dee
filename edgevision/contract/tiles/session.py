"""A session that makes the images of frames of any size in tiles."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from edgevision.contract.image import Frame, check_frame, fit_frame
from edgevision.contract.inputs import Batch, BatchRange
from edgevision.contract.pixels import FramePixels
from edgevision.contract.results import Outputs, Result, results_from_outputs
from edgevision.contract.session import Frames, Pending, Session
from edgevision.contract.thresholds import Threshold
from edgevision.contract.tiles.axis import TiledAxis
from edgevision.contract.tiles.options import TileOptions, checked_overlap, factor_xy
from edgevision.contract.transform import FrameTransform
from edgevision.errors import EngineError, UsageError


class TiledSession(Session):
    """A session of task translate that takes frames of any size, and makes their images in tiles of the graph's size.

    The image of a frame is as many times as large as the graph's is. A frame that is smaller than a tile is padded by
    reflection, and the padding is cut off. Its engine is that of `session`, which it closes.
    """

    def __init__(self, session: Session, options: TileOptions | None = None) -> None:
        """Raises `UsageError` for a model of another task, and for an overlap or rows that do not fit the graph."""
        options = options or TileOptions()
        spec = session.spec
        self.overlap_px = checked_overlap(spec, options.overlap_px)
        limits = spec.frames.batch
        self._rows = limits.opt if options.rows is None else options.rows
        if not limits.min <= self._rows <= limits.max:
            raise UsageError(
                f"batch {self._rows} is out of range; expected {limits} tiles for {spec.name}, or a new export with"
                " --batch"
            )
        one = replace(spec.frames.in_bgr, batch=BatchRange(1, 1, 1))
        super().__init__(replace(spec, input=one), session.info)
        for name in ("precision", "threshold", "graph_sha256", "selection"):
            setattr(self, name, getattr(session, name))
        self._inner = session
        self._tile = replace(spec.frames, fit="exact")
        self._factor_xy = factor_xy(spec)
        self._buffers = [session.new_batch(self._rows) for _ in range(session.in_flight)]
        self._lock = threading.Lock()

    def infer(self, batch: Batch) -> Outputs:
        """The images ``[B,h,w,3]`` of frames uint8 ``[B,H,W,3]``, BGR, of any size; raises as `Session.infer`."""
        if not isinstance(batch, np.ndarray) or batch.ndim != 4:
            raise UsageError("expected frames of uint8 [B,H,W,3] BGR")
        return (np.stack([self.image_of(frame) for frame in batch]),)

    def _infer(self, frames: Frames) -> Outputs:
        return self.infer(frames)

    def new_batch(self, rows: int | None = None) -> Frames:
        """No memory, because frames of any size are read where they are."""
        del rows
        return np.empty((0, 0, 0, 3), np.uint8)

    def __call__(
        self, frames: Sequence[Frame | FramePixels], *, threshold: Threshold | None = None
    ) -> list[Result]:
        """The images of frames of any size; `threshold` means nothing to them."""
        del threshold
        images = [frame.image_bgr if isinstance(frame, FramePixels) else frame for frame in frames]
        return [
            result
            for image in images
            for result in results_from_outputs(
                self.spec, (self.image_of(image)[None],), (self.placement(image),), threshold=0.0
            )
        ]

    def placement(self, frame_bgr: Frame) -> FrameTransform:
        """The map of a whole frame to the input, which its made image covers; raises `UsageError` for no frame."""
        check_frame(frame_bgr)
        frame_wh, size_wh = (frame_bgr.shape[1], frame_bgr.shape[0]), self.spec.frames.size_wh
        scale_xy = (size_wh[0] / frame_wh[0], size_wh[1] / frame_wh[1])
        return FrameTransform(frame_wh, scale_xy, (0.0, 0.0))

    def close(self) -> None:
        """Release the engine's resources."""
        with self._lock:
            self._buffers = []
        self._inner.close()

    def image_of(self, frame_bgr: Frame) -> Frame:
        """The image uint8 ``[h,w,3]`` BGR of a frame of any size; raises `UsageError` for no frame, `EngineError`."""
        check_frame(frame_bgr)
        height, width = frame_bgr.shape[:2]
        padded = _padded(frame_bgr, self._tile.size_wh)
        x_axis, y_axis = (
            TiledAxis(side, tile, self.overlap_px, factor)
            for side, tile, factor in zip(
                padded.shape[1::-1], self._tile.size_wh, self._factor_xy, strict=True
            )
        )
        made = np.zeros((y_axis.spans[-1][1], x_axis.spans[-1][1], 3), np.float32)
        across, down = x_axis.weights(), y_axis.weights()
        places = [(row, column) for row in range(len(down)) for column in range(len(across))]
        corners = [(x_axis.starts[column], y_axis.starts[row]) for row, column in places]
        with self._lock:
            for (row, column), tile in zip(places, self._tiles(padded, corners), strict=True):
                (left, right), (top, bottom) = x_axis.spans[column], y_axis.spans[row]
                weights = down[row][:, None, None] * across[column][None, :, None]
                made[top:bottom, left:right] += tile * weights
            self.device_ms = self._inner.device_ms
        part = made[: round(height * self._factor_xy[1]), : round(width * self._factor_xy[0])]
        return np.asarray(np.rint(part), np.uint8)

    def _tiles(self, padded: Frame, corners: Sequence[tuple[int, int]]) -> Iterator[Frame]:
        """The made image of each tile, in order, by as many calls at once as the engine overlaps."""
        tile_w, tile_h = self._tile.size_wh
        flights: deque[tuple[int, Pending]] = deque()
        try:
            for number, first in enumerate(range(0, len(corners), self._rows)):
                if len(flights) == len(self._buffers):
                    yield from _landed(flights)
                buffer = self._buffers[number % len(self._buffers)]
                chunk = corners[first : first + self._rows]
                for row, (left, top) in enumerate(chunk):
                    fit_frame(padded[top : top + tile_h, left : left + tile_w], self._tile, out=buffer[row])
                used = max(len(chunk), self._tile.batch.min)
                buffer[len(chunk) : used] = buffer[len(chunk) - 1]
                flights.append((len(chunk), self._inner.submit(buffer[:used])))
            while flights:
                yield from _landed(flights)
        finally:
            for _, pending in flights:  # after an error: the engine still reads their buffers
                with contextlib.suppress(EngineError):
                    pending.result()


def _landed(flights: deque[tuple[int, Pending]]) -> Iterator[Frame]:
    count, pending = flights.popleft()
    yield from pending.result()[0][:count]


def _padded(frame_bgr: Frame, tile_wh: tuple[int, int]) -> Frame:
    """The frame, extended by reflection to the right and below to at least the size of a tile."""
    right, below = (max(tile - side, 0) for tile, side in zip(tile_wh, frame_bgr.shape[1::-1], strict=True))
    if not right and not below:
        return frame_bgr
    extended = cv2.copyMakeBorder(frame_bgr, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    return np.asarray(extended, np.uint8)
