"""Counting at lines and zones: plane geometry over tracked positions.

A counter receives the position of each visible identity as a point and returns events. Identities are whole numbers
that are never reused. An identity without a position is out of sight. It is forgotten after `forget_s`, or if the clock
steps back (a restarted video).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import cv2

from edgevision.analytics.places import Line, Point, Zone, turn

Kind = Literal["crossed", "entered", "appeared", "left", "vanished"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """Position of an identity."""

    identity: int
    label: int
    xy: Point


@dataclass(frozen=True, slots=True)
class AnalyticsEvent:
    """An event at a place. A line was `crossed`. A zone was `entered` or `left` over its border, or an object was first
    seen (`appeared`) or last seen (`vanished`) inside.
    """

    kind: Kind
    place: str
    identity: int
    label: int
    time_s: float
    direction: Literal["in", "out"] | None = None
    """Direction of a crossing."""
    dwell_s: float | None = None
    """Seconds in the zone, for `left` and `vanished`."""


@dataclass(slots=True)
class _Walker:
    """State of an identity at a line."""

    xy: Point
    seen_s: float
    side: int = 0
    """-1 left or 1 right of the line; 0 until it was first clear of it."""
    passed: bool = False
    """True if the last passage was between the line's ends."""


class LineCounter:
    """Counts crossings of one line.

    A crossing has three conditions. The identity was clear of the line on one side, farther than `hysteresis_px`. It
    passed between the line's ends. It is clear of the line on the other side. Moving to and fro on the line, touching
    it, and going around its end do not count. The path between two positions is assumed to be straight.
    """

    def __init__(self, line: Line, *, hysteresis_px: float = 0.0, forget_s: float = 3.0) -> None:
        self.line = line
        self.counts: dict[tuple[int, Literal["in", "out"]], int] = {}
        """Crossings by label and direction."""
        self._hysteresis_px = hysteresis_px
        self._forget_s = forget_s
        self._walkers: dict[int, _Walker] = {}

    def count(self, direction: Literal["in", "out"]) -> int:
        """Crossings in that direction, over all labels."""
        return sum(number for (_, way), number in self.counts.items() if way == direction)

    def update(self, sightings: Iterable[Sighting], time_s: float) -> tuple[AnalyticsEvent, ...]:
        """Process a frame's positions and return the completed crossings."""
        found = [self._step(sighting, time_s) for sighting in sightings]
        for identity in [
            who for who, walker in self._walkers.items() if not 0 <= time_s - walker.seen_s <= self._forget_s
        ]:
            del self._walkers[identity]
        return tuple(event for event in found if event is not None)

    def _step(self, sighting: Sighting, time_s: float) -> AnalyticsEvent | None:
        distance = self._distance(sighting.xy)
        clear = 0 if abs(distance) <= self._hysteresis_px else (1 if distance > 0 else -1)
        walker = self._walkers.get(sighting.identity)
        if walker is None:
            self._walkers[sighting.identity] = _Walker(sighting.xy, time_s, clear)
            return None
        before = self._distance(walker.xy)
        if (before > 0) != (distance > 0):
            # A point exactly on the line counts as left, so that each passage is detected once, at one of the two
            # steps.
            share = before / (before - distance)
            walker.passed = 0 <= self._along(walker.xy, sighting.xy, share) <= 1
        walker.xy, walker.seen_s = sighting.xy, time_s
        if clear in (0, walker.side):
            return None
        came_from, walker.side = walker.side, clear
        if came_from == 0 or not walker.passed:
            return None
        direction: Literal["in", "out"] = "in" if clear > 0 else "out"
        key = (sighting.label, direction)
        self.counts[key] = self.counts.get(key, 0) + 1
        return AnalyticsEvent("crossed", self.line.name, sighting.identity, sighting.label, time_s, direction)

    def _distance(self, xy: Point) -> float:
        return turn(self.line.start_xy, self.line.end_xy, xy) / self.line.length

    def _along(self, before: Point, after: Point, share: float) -> float:
        """Position of a passage along the line: 0 at its start, 1 at its end."""
        x, y = (a + share * (b - a) for a, b in zip(before, after, strict=True))
        (x1, y1), (x2, y2) = self.line.start_xy, self.line.end_xy
        return ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / self.line.length**2


@dataclass(frozen=True, slots=True)
class Visit:
    """A current visit to a zone."""

    identity: int
    label: int
    since_s: float
    seen_s: float
    """Time of the last position inside."""


@dataclass(slots=True)
class _Guest:
    label: int
    seen_s: float
    inside_s: float | None
    """Start of the visit; None outside."""


@dataclass(slots=True)
class DwellTimes:
    """Statistics of finished visits."""

    visits: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0

    def add(self, dwell_s: float) -> None:
        """Count a visit."""
        self.visits += 1
        self.total_s += dwell_s
        self.longest_s = max(self.longest_s, dwell_s)

    @property
    def mean_s(self) -> float:
        """Mean length; 0 without a visit."""
        return self.total_s / self.visits if self.visits else 0.0


@dataclass(slots=True)
class ZoneCounter:
    """Objects in one zone, and their dwell time.

    An object leaves when it is farther than `hysteresis_px` outside the zone, and enters when it is as far inside. An
    identity out of sight keeps its state; after `forget_s` it has vanished, and its visit ended at its last position.
    Always: entered + appeared - left - vanished = inside.
    """

    zone: Zone
    hysteresis_px: float = 0.0
    forget_s: float = 3.0
    counts: dict[Kind, int] = field(
        default_factory=lambda: {"entered": 0, "appeared": 0, "left": 0, "vanished": 0}
    )
    dwell: DwellTimes = field(default_factory=DwellTimes)
    _guests: dict[int, _Guest] = field(default_factory=dict)

    def update(self, sightings: Iterable[Sighting], time_s: float) -> tuple[AnalyticsEvent, ...]:
        """Process a frame's positions and return the zone's events."""
        found = [self._step(sighting, time_s) for sighting in sightings]
        for identity, guest in list(self._guests.items()):
            if not 0 <= time_s - guest.seen_s <= self.forget_s:
                del self._guests[identity]
                if guest.inside_s is not None:
                    found.append(self._end("vanished", identity, guest, guest.inside_s, guest.seen_s))
        return tuple(event for event in found if event is not None)

    def inside(self) -> tuple[Visit, ...]:
        """The current visits, the oldest first."""
        visits = (
            Visit(identity, guest.label, guest.inside_s, guest.seen_s)
            for identity, guest in self._guests.items()
            if guest.inside_s is not None
        )
        return tuple(sorted(visits, key=lambda visit: visit.since_s))

    def _step(self, sighting: Sighting, time_s: float) -> AnalyticsEvent | None:
        identity, label = sighting.identity, sighting.label
        depth = cv2.pointPolygonTest(self.zone.contour, sighting.xy, measureDist=True)
        guest = self._guests.get(identity)
        if guest is None:
            self._guests[identity] = _Guest(label, time_s, time_s if depth >= 0 else None)
            return self._begin("appeared", identity, label, time_s) if depth >= 0 else None
        guest.label, guest.seen_s = label, time_s
        if guest.inside_s is None and depth > self.hysteresis_px:
            guest.inside_s = time_s
            return self._begin("entered", identity, label, time_s)
        if guest.inside_s is not None and depth < -self.hysteresis_px:
            began_s, guest.inside_s = guest.inside_s, None
            return self._end("left", identity, guest, began_s, time_s)
        return None

    def _begin(self, kind: Kind, identity: int, label: int, time_s: float) -> AnalyticsEvent:
        self.counts[kind] += 1
        return AnalyticsEvent(kind, self.zone.name, identity, label, time_s)

    def _end(
        self, kind: Kind, identity: int, guest: _Guest, began_s: float, ended_s: float
    ) -> AnalyticsEvent:
        self.counts[kind] += 1
        self.dwell.add(ended_s - began_s)
        return AnalyticsEvent(kind, self.zone.name, identity, guest.label, ended_s, dwell_s=ended_s - began_s)
