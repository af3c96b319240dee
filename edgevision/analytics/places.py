"""Lines and zones in a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.errors import UsageError

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """From `start_xy` to `end_xy`, in pixels. Looking from start to end, left to right counts as `in`, the other way as
    `out`.
    """

    name: str
    start_xy: Point
    end_xy: Point

    def __post_init__(self) -> None:
        if self.start_xy == self.end_xy:
            raise UsageError(
                f"line {self.name!r} starts and ends at {self.start_xy}; expected two different points"
            )

    @property
    def length(self) -> float:
        """Length in pixels."""
        return float(np.hypot(self.end_xy[0] - self.start_xy[0], self.end_xy[1] - self.start_xy[1]))

    def scaled(self, factor_xy: Point) -> Line:
        """The same line in a frame of another size."""
        return Line(self.name, _times(self.start_xy, factor_xy), _times(self.end_xy, factor_xy))


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon of three corners or more, in pixels, whose sides do not cross."""

    name: str
    corners: tuple[Point, ...]

    def __post_init__(self) -> None:
        if len(self.corners) < 3:
            raise UsageError(f"zone {self.name!r} has {len(self.corners)} corners; expected three or more")
        if cv2.contourArea(self.contour) == 0 or _crosses_itself(self.corners):
            raise UsageError(
                f"the sides of zone {self.name!r} cross, or it has no area; expected its corners in order around it"
            )

    @property
    def contour(self) -> npt.NDArray[np.float32]:
        """The corners in OpenCV's form, float32 ``[K,1,2]``."""
        return np.array(self.corners, np.float32)[:, None]

    def scaled(self, factor_xy: Point) -> Zone:
        """The same zone in a frame of another size."""
        return Zone(self.name, tuple(_times(corner, factor_xy) for corner in self.corners))


@dataclass(frozen=True, slots=True)
class PlaceText:
    """A line or zone as text: its name, and its numbers x, y, x, y ..."""

    name: str
    numbers: tuple[float, ...]

    def points(self, size_wh: tuple[int, int]) -> tuple[Point, ...]:
        """The points in pixels of a frame; if no number exceeds 1, they are shares of its width and height.

        Raises `UsageError` if a point lies outside the frame.
        """
        width, height = size_wh
        scale = (width, height) if max(self.numbers) <= 1 else (1, 1)
        pairs = zip(self.numbers[::2], self.numbers[1::2], strict=True)
        points = tuple((x * scale[0], y * scale[1]) for x, y in pairs)
        for x, y in points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise UsageError(
                    f"{self.name}: point {x:g},{y:g} lies outside the frame; expected at most {width}x{height}"
                    " pixels"
                )
        return points

    def line(self, size_wh: tuple[int, int]) -> Line:
        """The line in a frame of that size."""
        start, end = self.points(size_wh)
        return Line(self.name, start, end)

    def zone(self, size_wh: tuple[int, int]) -> Zone:
        """The zone in a frame of that size."""
        return Zone(self.name, self.points(size_wh))


def parse_place(text: str, fallback_name: str = "") -> PlaceText:
    """Parse ``x,y,x,y...`` or ``NAME=x,y,x,y...``; the default name is `fallback_name`; raises `UsageError`."""
    name, equals, rest = text.rpartition("=")
    name = name.strip() if equals else fallback_name
    try:
        numbers = tuple(float(part) for part in rest.split(","))
    except ValueError:
        numbers = ()
    if (equals and not name) or len(numbers) < 4 or len(numbers) % 2 or not np.isfinite(numbers).all():
        raise UsageError(
            f"{text!r} is not a line or zone; expected pairs of numbers such as 560,150,560,440 (pixels) or"
            " 0.5,0,0.5,1 (shares of the frame), optionally with a name: door=560,150,560,440"
        )
    return PlaceText(name, numbers)


def _times(point: Point, factor_xy: Point) -> Point:
    return point[0] * factor_xy[0], point[1] * factor_xy[1]


def _crosses_itself(corners: Sequence[Point]) -> bool:
    count = len(corners)
    sides = [(corners[k], corners[(k + 1) % count]) for k in range(count)]
    return any(
        _apart(*sides[i], *sides[j]) and _apart(*sides[j], *sides[i])
        for i in range(count)
        for j in range(i + 2, count - (i == 0))
    )


def _apart(a: Point, b: Point, c: Point, d: Point) -> bool:
    """True if c and d lie on different sides of the line through a and b."""
    return turn(a, b, c) * turn(a, b, d) < 0


def turn(a: Point, b: Point, c: Point) -> float:
    """The cross product of b - a and c - a: above 0 if, with y pointing down, c lies to the right of the way a to b."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
