"""Synthetic camera that pans and zooms over a wall with real photographs."""

from __future__ import annotations

import functools
import math
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import edgevision
from edgevision.contract.image import Frame

PHOTOGRAPHS = Path(edgevision.__file__).parent / "photographs"

PEOPLE = {"astronaut": (20, 14, 365, 512), "hopper": (4, 28, 512, 600)}
"""Person in a photograph: xyxy in its pixels, drawn by hand."""

WALL_WH = (1600, 640)
"""Size of the wall in units; an unzoomed view of 640x480 shows one unit per pixel."""
_ZOOM = (0.8, 1.3)
_FINEST = 2.6
"""Maximum pixels of the wall per unit; the photographs have no finer detail."""
_PLASTER, _FRAME, _MAT = (192, 202, 206), (40, 52, 66), (244, 246, 247)
_FRAME_UNITS, _MAT_UNITS = 5, 9


@dataclass(frozen=True, slots=True)
class Hanging:
    """A photograph on the wall: its upper left corner and height in units, and whether it is mirrored."""

    name: str
    left: int
    top: int
    height: int
    mirrored: bool = False

    def photograph(self) -> Frame:
        """Its pixels, mirrored if requested."""
        pixels = np.asarray(cv2.imread(str(PHOTOGRAPHS / f"{self.name}.jpg")), np.uint8)
        return np.ascontiguousarray(pixels[:, ::-1]) if self.mirrored else pixels

    def people(self) -> tuple[tuple[float, ...], ...]:
        """People in it, xyxy in units of the wall."""
        if self.name not in PEOPLE:
            return ()
        height, width = self.photograph().shape[:2]
        x1, y1, x2, y2 = PEOPLE[self.name]
        if self.mirrored:
            x1, x2 = width - x2, width - x1
        scale = self.height / height
        corner = (self.left, self.top) * 2
        return (tuple(start + scale * value for start, value in zip(corner, (x1, y1, x2, y2), strict=True)),)


HANGINGS = (
    Hanging("astronaut", 60, 60, 230),
    Hanging("cat", 80, 360, 170),
    Hanging("coffee", 350, 70, 150),
    Hanging("hopper", 390, 280, 270, mirrored=True),
    Hanging("hopper", 650, 70, 200),
    Hanging("astronaut", 680, 340, 220, mirrored=True),
    Hanging("cat", 880, 80, 190, mirrored=True),
    Hanging("astronaut", 950, 330, 180),
    Hanging("hopper", 1220, 60, 240, mirrored=True),
    Hanging("coffee", 1160, 370, 180, mirrored=True),
    Hanging("hopper", 1466, 370, 140),
    Hanging("astronaut", 1464, 90, 120, mirrored=True),
)


@dataclass(frozen=True, slots=True, eq=False)
class VisiblePeople:
    """People in view: `boxes` float32 ``[N,4]`` xyxy in frame pixels, clipped to the frame; `shares` are their visible
    parts.
    """

    boxes: npt.NDArray[np.float32]
    shares: npt.NDArray[np.float32]


class SyntheticCamera:
    """Pans along the wall and back within `cycle` frames, zooming in and out.

    Frames are uint8 ``[H,W,3]`` BGR of `size_wh`; frame `n` is deterministic.
    """

    def __init__(self, size_wh: tuple[int, int] = (640, 480), *, cycle: int = 240) -> None:
        self.size_wh = size_wh
        self.cycle = cycle
        self._unzoomed = max(size_wh[0] / 640, size_wh[1] / 480)
        # Resolution for the largest zoom; smaller zooms need up to 1.6 times less.
        self._fineness = min(_ZOOM[1] * self._unzoomed, _FINEST)
        self._wall = _wall(self._fineness)

    def frame(self, index: int) -> Frame:
        """Frame `index`."""
        scale, offset = self._view(index)
        step = scale / self._fineness
        # Pixel centres of the view and of the wall have different offsets.
        left, top = offset + 0.5 * step - 0.5
        matrix = np.array([[step, 0, left], [0, step, top]])
        return np.asarray(
            cv2.warpAffine(self._wall, matrix, self.size_wh, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    def frames(self, count: int) -> Iterator[Frame]:
        """The first `count` frames."""
        return (self.frame(index) for index in range(count))

    def people(self, index: int) -> VisiblePeople:
        """People in view in frame `index`: the ground truth for a detector's boxes."""
        scale, offset = self._view(index)
        whole = _people() * scale + np.tile(offset, 2)
        cut = np.clip(whole, 0, np.array(self.size_wh * 2))
        shares = np.prod(cut[:, 2:] - cut[:, :2], axis=1) / np.prod(whole[:, 2:] - whole[:, :2], axis=1)
        seen = shares > 0
        return VisiblePeople(cut[seen].astype(np.float32), shares[seen].astype(np.float32))

    def _view(self, index: int) -> tuple[float, npt.NDArray[np.float64]]:
        """Pixels per unit, and the position of the wall's corner in the frame: ``pixel = unit * scale + offset``."""
        phase = 2 * math.pi * (index % self.cycle) / self.cycle
        # The view never leaves the wall: unzoomed it shows 640x480 units or less, and at most 800x600.
        low, high = _ZOOM
        scale = self._unzoomed * (low + (high - low) * (0.5 - 0.5 * math.cos(3 * phase)))
        free = np.array(WALL_WH) * scale - self.size_wh
        return scale, -free * np.array([0.5 - 0.5 * math.cos(phase), 0.5 + 0.5 * math.sin(2 * phase)])


_walls: weakref.WeakValueDictionary[float, Frame] = weakref.WeakValueDictionary()
_drawing = threading.Lock()


def _wall(fineness: float) -> Frame:
    """The wall, drawn once for all current cameras, because it has up to 20 MB."""
    with _drawing:
        wall = _walls.get(fineness)
        if wall is None:
            wall = _walls[fineness] = _hang(fineness)
        return wall


@functools.cache
def _people() -> npt.NDArray[np.float64]:
    """``[N,4]`` xyxy in units of the wall."""
    people = np.array([box for hanging in HANGINGS for box in hanging.people()])
    people.flags.writeable = False
    return people


def _hang(fineness: float) -> Frame:
    """The wall with its photographs, at `fineness` pixels per unit."""
    wall = np.empty((round(WALL_WH[1] * fineness), round(WALL_WH[0] * fineness), 3), np.uint8)
    wall[:] = _PLASTER
    for hanging in HANGINGS:
        photograph = hanging.photograph()
        width = hanging.height * photograph.shape[1] / photograph.shape[0]
        corners = np.array([hanging.left, hanging.top, hanging.left + width, hanging.top + hanging.height])
        for margin, colour in ((_FRAME_UNITS + _MAT_UNITS, _FRAME), (_MAT_UNITS, _MAT)):
            x1, y1, x2, y2 = np.rint((corners + np.array([-1, -1, 1, 1]) * margin) * fineness).astype(int)
            wall[y1:y2, x1:x2] = colour
        x1, y1, x2, y2 = np.rint(corners * fineness).astype(int)
        wall[y1:y2, x1:x2] = cv2.resize(photograph, (x2 - x1, y2 - y1), interpolation=cv2.INTER_AREA)
    wall.flags.writeable = False
    return wall
