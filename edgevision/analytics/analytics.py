"""Analytics between results and sinks: filters, tracking, lines and zones."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgevision.analytics.counting import AnalyticsEvent, LineCounter, Sighting, ZoneCounter
from edgevision.analytics.filters import DetectionFilter
from edgevision.analytics.observation import LineState, Observation, Trail, ZoneState
from edgevision.analytics.places import Line, PlaceText, Point, Zone
from edgevision.contract.results import Detections, Poses, Result, reached
from edgevision.contract.thresholds import THRESHOLD, Threshold, least_of, threshold_of
from edgevision.sources.frames import SourceFrame

CARRY_SCORE = 0.1
"""Minimum confidence of a detection that continues an identity: the low-score detections of ByteTrack (arXiv
2110.06864).
"""
HYSTERESIS_SHARE = 0.01
"""Distance from a border at which an object is clear of it, as a share of the frame's shorter side."""
FORGET_S = 3.0
"""Identities out of sight for longer are forgotten; the tracker ends them sooner and never reuses one."""
TRAIL_S = 1.5
LEAST_ANCHOR = 0.5
"""Minimum confidence of a keypoint that is a position."""


class IdentityGiver(Protocol):
    """Assigns identities to detections, such as `edgevision.analytics.tracker.Tracker`."""

    def update(self, detections: Detections, time_s: float) -> npt.NDArray[np.int64]:
        """The identity of each detection, -1 for none."""


@dataclass(slots=True)
class _Known:
    """History of an identity."""

    seen_s: float = 0.0
    best: dict[int, float] = field(default_factory=dict)
    """The highest score so far of each label."""
    votes: dict[int, float] = field(default_factory=dict)
    trail: deque[tuple[float, Point]] = field(default_factory=deque)

    def see(self, label: int, score: float, xy: Point | None, time_s: float) -> None:
        """Record a detection; without `xy` its position is unknown."""
        self.seen_s = time_s
        self.best[label] = max(self.best.get(label, 0.0), score)
        self.votes[label] = self.votes.get(label, 0.0) + score
        if xy is not None:
            self.trail.append((time_s, xy))
        while self.trail and self.trail[0][0] < time_s - TRAIL_S:
            self.trail.popleft()

    @property
    def label(self) -> int:
        """The class with the highest total score, so that a single misclassified frame changes nothing."""
        return max(self.votes, key=lambda label: self.votes[label])

    def reached(self, threshold: Threshold) -> bool:
        """True if a detection of this identity had the minimum confidence of its class."""
        return any(score >= threshold_of(threshold, label) for label, score in self.best.items())


class Analytics:
    """Filters the detections of one source; with a tracker it also counts at lines and zones.

    Without a filter and a tracker, results pass unchanged. Lines and zones are in pixels of a frame of `size_wh`, or
    texts (`places.parse_place`), which may be shares of the frame. Without `size_wh` it is the size of the first frame,
    because a camera may be away until then. Detections in frames of another size are scaled to it. An object's position
    is the bottom centre of its box, or the keypoint of index `anchor` of a pose; it is unknown in frames in which that
    keypoint is less confident than `LEAST_ANCHOR`. Detections below `threshold` only continue identities. They are
    dropped without an identity, or if their identity never reached the threshold.
    """

    def __init__(
        self,
        threshold: Threshold | None = None,
        *,
        select: DetectionFilter | None = None,
        tracker: IdentityGiver | None = None,
        lines: Sequence[Line | PlaceText] = (),
        zones: Sequence[Zone | PlaceText] = (),
        size_wh: tuple[int, int] | None = None,
        anchor: int | None = None,
    ) -> None:
        """`threshold`: minimum confidence of a detection; None: the pipeline's, or 0.25 without one."""
        self._threshold = threshold
        self.seen = 0
        """Number of identities so far."""
        self.lines: list[LineCounter] = []
        """One counter for each line; empty before the first frame."""
        self.zones: list[ZoneCounter] = []
        self._places: tuple[Sequence[Line | PlaceText], Sequence[Zone | PlaceText]] | None = (lines, zones)
        """Lines and zones until the first frame defines their pixels."""
        self._size_wh = size_wh
        self._select = select
        self._anchor = anchor
        self._tracker = tracker
        self._known: dict[int, _Known] = {}
        self._last_s = 0.0

    @property
    def threshold(self) -> Threshold:
        """Minimum confidence of a detection, or of the best one of its identity; may be changed between frames."""
        return THRESHOLD if self._threshold is None else self._threshold

    @threshold.setter
    def threshold(self, value: Threshold) -> None:
        self._threshold = value

    def default_threshold(self, value: Threshold) -> None:
        """Set the threshold unless one was given."""
        if self._threshold is None:
            self._threshold = value

    @property
    def min_confidence(self) -> Threshold:
        """Minimum confidence of the detections that `observe` needs."""
        return self.threshold if self._tracker is None else min(least_of(self.threshold), CARRY_SCORE)

    def observe(self, frame: SourceFrame, result: Result) -> tuple[Result, Observation | None]:
        """The remaining detections with their observation; results without detections pass unchanged.

        Call it for each frame in order. With the first frame, raises `UsageError` for places outside of it.
        """
        if not isinstance(result, Detections):
            return result, None
        detections = result if self._select is None else self._select.apply(result, frame.size_wh)
        if self._tracker is None:
            return detections, None
        size_wh = self._placed(frame.size_wh)
        time_s = frame_time_s(frame)
        scale = np.tile(np.array(size_wh) / np.array(frame.size_wh), 2).astype(np.float32)
        placed = Detections(
            detections.boxes * scale, detections.scores, detections.labels, detections.classes
        )
        ids = self._tracker.update(placed, time_s)
        positions = self._positions(detections, placed, scale)
        sightings = self._remember(placed, positions, ids, time_s)
        events: list[AnalyticsEvent] = []
        for line in self.lines:
            events += line.update(sightings, time_s)
        for zone in self.zones:
            events += zone.update(sightings, time_s)
        self._last_s = time_s
        keep = reached(self.threshold, detections.scores, detections.labels)
        keep |= np.array([self._reached(identity) for identity in ids.tolist()], bool)
        return detections[keep], self._observation(ids[keep], tuple(events), time_s, size_wh)

    def _placed(self, frame_wh: tuple[int, int]) -> tuple[int, int]:
        """The reference size of the places; the first frame places them."""
        size_wh = self._size_wh or frame_wh
        if self._places is not None:
            lines, zones = self._places
            margin = HYSTERESIS_SHARE * min(size_wh)
            placed = [place.line(size_wh) if isinstance(place, PlaceText) else place for place in lines]
            areas = [place.zone(size_wh) if isinstance(place, PlaceText) else place for place in zones]
            self.lines = [LineCounter(line, hysteresis_px=margin, forget_s=FORGET_S) for line in placed]
            self.zones = [ZoneCounter(zone, margin, FORGET_S) for zone in areas]
            self._places, self._size_wh = None, size_wh
        return size_wh

    def _positions(
        self, detections: Detections, placed: Detections, scale: npt.NDArray[np.float32]
    ) -> list[Point | None]:
        """The position of each detection in the reference size; None if its keypoint is not visible."""
        if self._anchor is None or not isinstance(detections, Poses):
            return [((x1 + x2) / 2, y2) for x1, _, x2, y2 in placed.boxes.tolist()]
        points = detections.keypoints[:, self._anchor]
        xys = (points[:, :2] * scale[:2]).tolist()
        return [
            (x, y) if sure else None for (x, y), sure in zip(xys, points[:, 2] >= LEAST_ANCHOR, strict=True)
        ]

    def _remember(
        self,
        placed: Detections,
        positions: list[Point | None],
        ids: npt.NDArray[np.int64],
        time_s: float,
    ) -> tuple[Sighting, ...]:
        if time_s < self._last_s:  # a video restarted: the tracker assigns new identities
            self._known.clear()
        sightings = []
        for row in np.flatnonzero(ids >= 0):
            xy = positions[row]
            identity = int(ids[row])
            if identity not in self._known:
                self._known[identity] = _Known()
                self.seen += 1
            known = self._known[identity]
            known.see(int(placed.labels[row]), float(placed.scores[row]), xy, time_s)
            if known.reached(self.threshold) and xy is not None:
                sightings.append(Sighting(identity, known.label, xy))
        for identity in [who for who, known in self._known.items() if time_s - known.seen_s > FORGET_S]:
            del self._known[identity]
        return tuple(sightings)

    def _reached(self, identity: int) -> bool:
        known = self._known.get(identity)
        return known is not None and known.reached(self.threshold)

    def _observation(
        self,
        ids: npt.NDArray[np.int64],
        events: tuple[AnalyticsEvent, ...],
        time_s: float,
        size_wh: tuple[int, int],
    ) -> Observation:
        lines = tuple(LineState(c.line, c.count("in"), c.count("out")) for c in self.lines)
        zones = []
        for counter in self.zones:
            visits = counter.inside()
            total_s = sum(time_s - visit.since_s for visit in visits)
            zones.append(ZoneState(counter.zone, len(visits), total_s / max(len(visits), 1)))
        trails = tuple(
            Trail(identity, np.array([xy for _, xy in known.trail], np.float32))
            for identity, known in self._known.items()
            if known.seen_s == time_s and known.reached(self.threshold) and known.trail
        )
        return Observation(ids, events, lines, tuple(zones), trails, size_wh, time_s)


def frame_time_s(frame: SourceFrame) -> float:
    """Time of a frame: its position in a video, or a steady clock for cameras."""
    return frame.captured_ns / 1e9 if frame.position_s is None else frame.position_s
