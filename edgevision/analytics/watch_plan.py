"""What is to be followed and counted at a camera, as it is written down; and the observer that does it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from edgevision.analytics.filters import DetectionFilter, labels_from_names
from edgevision.analytics.observation import Observation
from edgevision.analytics.observer import CARRY_SCORE, Observer
from edgevision.analytics.places import PlaceText, parse_place
from edgevision.contract.results import Result
from edgevision.contract.spec import ModelSpec
from edgevision.errors import MissingExtraError, UsageError
from edgevision.sources.frames import SourceFrame

LIBRARY = "trackers"


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What is to be followed and counted."""

    track: bool = False
    lines: tuple[str, ...] = ()
    """As `places.parse_place` reads them."""
    zones: tuple[str, ...] = ()
    only: str | None = None
    """Names of classes with commas between them; None: all."""
    min_area: float = 0.0
    max_area: float = 1.0

    @property
    def tracks(self) -> bool:
        """True if identities are needed."""
        return self.track or bool(self.lines) or bool(self.zones)

    def check(self, spec: ModelSpec) -> None:
        """Raise `UsageError` or `MissingExtraError` for what can be known to be wrong before a frame is there."""
        select = self._select(spec)
        wanted = self.tracks or select != DetectionFilter()
        if wanted and spec.task not in ("detect", "instances"):
            raise UsageError(
                f"{spec.name} answers {spec.task}: only detections can be filtered, followed and counted"
            )
        _places(self.lines, "line")
        _places(self.zones, "zone")
        if self.tracks and importlib.util.find_spec(LIBRARY) is None:
            raise MissingExtraError(LIBRARY, "track", "tracking", beside=LIBRARY)

    def observer(
        self, spec: ModelSpec, size_wh: tuple[int, int], fps: float | None, threshold: float
    ) -> Observer:
        """The observer of one source with frames of that size; raises `UsageError` where it cannot be."""
        self.check(spec)
        select = self._select(spec)
        if not self.tracks:
            return Observer(size_wh, select=select, threshold=threshold)
        # Loads SciPy, which only those who track should wait for.
        from edgevision.analytics.tracker import Tracker, TrackerOptions

        begin = max(threshold, TrackerOptions().begin_score)
        return Observer(
            size_wh,
            select=select,
            tracker=Tracker(fps, TrackerOptions(begin_score=begin)),
            lines=[place.line(size_wh) for place in _places(self.lines, "line")],
            zones=[place.zone(size_wh) for place in _places(self.zones, "zone")],
            threshold=threshold,
        )

    def _select(self, spec: ModelSpec) -> DetectionFilter:
        labels = None if self.only is None else labels_from_names(self.only, spec.classes)
        return DetectionFilter(labels, self.min_area, self.max_area)


class PlannedWatcher:
    """The observer of a plan, made when the first frame tells its size: a camera may be away until then."""

    def __init__(self, plan: WatchPlan, spec: ModelSpec, fps: float | None, threshold: float) -> None:
        """Raises what `WatchPlan.check` raises."""
        plan.check(spec)
        self._plan = plan
        self._spec = spec
        self._fps = fps
        self._threshold = threshold
        self.observer: Observer | None = None
        """None until the first frame."""

    @property
    def threshold(self) -> float:
        """Detections of a lower score are left out."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._threshold = value
        if self.observer is not None:
            self.observer.threshold = value

    @property
    def needed_score(self) -> float:
        """As the observer says, or will say."""
        if self.observer is not None:
            return self.observer.needed_score
        return min(self._threshold, CARRY_SCORE) if self._plan.tracks else self._threshold

    def observe(self, frame: SourceFrame, result: Result) -> tuple[Result, Observation | None]:
        """As `Observer.observe`; raises `UsageError` with the first frame for places outside of it."""
        if self.observer is None:
            self.observer = self._plan.observer(self._spec, frame.size_wh, self._fps, self._threshold)
        return self.observer.observe(frame, result)


def _places(texts: tuple[str, ...], kind: str) -> list[PlaceText]:
    places = [parse_place(text, f"{kind} {number}") for number, text in enumerate(texts, 1)]
    names = [place.name for place in places]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{names.count(name)} {kind}s are called {name!r}; names must differ")
    return places
