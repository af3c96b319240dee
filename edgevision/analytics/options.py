"""What is to be followed and counted at a camera, as it is written down."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from edgevision.analytics.analytics import Analytics
from edgevision.analytics.filters import DetectionFilter, labels_from_names
from edgevision.analytics.places import PlaceText, parse_place
from edgevision.contract.spec import ModelSpec
from edgevision.errors import MissingExtraError, UsageError

LIBRARY = "trackers"


@dataclass(frozen=True, slots=True)
class AnalyticsOptions:
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
    def wanted(self) -> bool:
        """True if anything is asked for."""
        return self != AnalyticsOptions()

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

    def open(self, spec: ModelSpec, fps: float | None, threshold: float) -> Analytics:
        """What carries it out for one source; raises what `check` raises."""
        self.check(spec)
        wanted = self._select(spec)
        select = None if wanted == DetectionFilter() else wanted
        if not self.tracks:
            return Analytics(threshold, select=select)
        # Loads SciPy, which only those who track should wait for.
        from edgevision.analytics.tracker import Tracker, TrackerOptions

        begin = max(threshold, TrackerOptions().begin_score)
        return Analytics(
            threshold,
            select=select,
            tracker=Tracker(fps, TrackerOptions(begin_score=begin)),
            lines=_places(self.lines, "line"),
            zones=_places(self.zones, "zone"),
        )

    def check_places(self, size_wh: tuple[int, int]) -> None:
        """Raise `UsageError` for a line or zone outside of frames of that size."""
        for place in _places(self.lines, "line"):
            place.line(size_wh)
        for place in _places(self.zones, "zone"):
            place.zone(size_wh)

    def _select(self, spec: ModelSpec) -> DetectionFilter:
        labels = None if self.only is None else labels_from_names(self.only, spec.classes)
        return DetectionFilter(labels, self.min_area, self.max_area)


def _places(texts: tuple[str, ...], kind: str) -> list[PlaceText]:
    places = [parse_place(text, f"{kind} {number}") for number, text in enumerate(texts, 1)]
    names = [place.name for place in places]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{names.count(name)} {kind}s are called {name!r}; names must differ")
    return places
