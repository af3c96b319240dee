"""Images of large frames, made in tiles of the graph's size that overlap."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.contract.image import Frame, check_frame, fit_frame
from edgevision.contract.inputs import Batch, BatchRange
from edgevision.contract.pixels import FramePixels
from edgevision.contract.results import Outputs, Result, results_from_outputs
from edgevision.contract.session import Frames, Pending, Session
from edgevision.contract.spec import ModelSpec
from edgevision.contract.thresholds import Threshold
from edgevision.contract.transform import FrameTransform
from edgevision.errors import EngineError, UsageError

OVERLAP_PX = 32
"""Default overlap of neighbouring tiles."""


@dataclass(frozen=True, slots=True)
class TileOptions:
    """How frames are divided into tiles."""

    overlap_px: int | None = None
    """Least overlap of neighbouring tiles in pixels of the frame; None: `OVERLAP_PX`, or half of a smaller tile."""
    rows: int | None = None
    """Tiles of a call; None: the optimum of the graph's batch."""


@dataclass(frozen=True, slots=True)
class TiledAxis:
    """Tiles of one axis of a frame, evenly spread, so that neighbours overlap by at least `overlap_px`.

    A network sees no further than a tile's edge. So at each inner edge, the outer quarter of the overlap has no weight.
    Across the next half of the overlap the weight grows linearly to 1, while that of the neighbour falls.
    """

    side: int
    """Of the frame, at least that of a tile."""
    tile: int
    overlap_px: int
    factor: float
    """The made image's side relative to the frame's."""

    @property
    def starts(self) -> tuple[int, ...]:
        """First pixel of each tile."""
        count = 1 + -(-(self.side - self.tile) // (self.tile - self.overlap_px))
        return tuple(round(start) for start in np.linspace(0, self.side - self.tile, count))

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First pixel of each tile in the made image, and the one after its last."""
        length = round(self.tile * self.factor)
        firsts = (round(start * self.factor) for start in self.starts)
        return tuple((first, first + length) for first in firsts)

    def weights(self) -> list[npt.NDArray[np.float32]]:
        """Weight of each pixel of each tile of the made image; those of one pixel of the image add up to 1."""
        starts = self.starts
        overlap_px = self.tile - max((b - a for a, b in itertools.pairwise(starts)), default=self.tile)
        length = round(self.tile * self.factor)
        inward_px = (np.arange(length) + 0.5) / self.factor  # of pixel centres, from the first edge
        rising = (2 * inward_px / overlap_px - 0.5).clip(0, 1) if overlap_px else np.ones(length)
        falling = rising[::-1]
        last = len(starts) - 1
        parts = [
            (rising if number else np.ones(length)) * (falling if number < last else np.ones(length))
            for number in range(last + 1)
        ]
        total = np.zeros(self.spans[-1][1])
        for (first, end), part in zip(self.spans, parts, strict=True):
            total[first:end] += part
        return [
            np.asarray(part / total[first:end], np.float32)
            for (first, end), part in zip(self.spans, parts, strict=True)
        ]


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


def checked_overlap(spec: ModelSpec, overlap_px: int | None) -> int:
    """The overlap of a model's tiles in pixels of the frame.

    Raises `UsageError` for one that does not fit the input, and for a model of another task.
    """
    if spec.task != "translate":
        raise UsageError(
            f"tiles are for image-to-image models; {spec.name} has the task {spec.task}: omit --tiles"
        )
    width, height = spec.frames.size_wh
    most = min(width, height) // 2
    if overlap_px is None:
        return min(OVERLAP_PX, most)
    if not 0 <= overlap_px <= most:
        raise UsageError(
            f"tiles overlap by {overlap_px} pixels; expected 0 to {most}, half of the shorter side of {spec.name}'s"
            f" input, {width}x{height}; export with a larger --size for more"
        )
    return overlap_px


def factor_xy(spec: ModelSpec) -> tuple[float, float]:
    """The made image's width and height relative to the input's."""
    _, height, width, _ = spec.outputs[0].shape
    return width / spec.frames.size_wh[0], height / spec.frames.size_wh[1]


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
