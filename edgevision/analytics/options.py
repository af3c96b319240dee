"""Options of analytics for one camera."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field, replace

from edgevision.analytics.analytics import Analytics
from edgevision.analytics.filters import DetectionFilter, labels_from_names
from edgevision.analytics.places import PlaceText, parse_place
from edgevision.analytics.places_kind import Places
from edgevision.contract.spec import BOX_TASKS, ModelSpec
from edgevision.contract.thresholds import Threshold, least_of
from edgevision.errors import MissingExtraError, UsageError
from edgevision.settings.kinds import Flag, Number, Text, Texts
from edgevision.settings.setting import setting

LIBRARY = "trackers"


SHARE = Number(0, 1)


@dataclass(frozen=True, slots=True)
class AnalyticsOptions:
    """Filters, tracking, lines and zones."""

    track: bool = field(
        default=False,
        metadata=setting(Flag(), "Track objects: give detections persistent identities.", option="--track"),
    )
    only: tuple[str, ...] = field(
        default=(),
        metadata=setting(
            Texts("names of classes", commas=True),
            "Keep only these classes.",
            option="--only",
            metavar="CLASS,...",
        ),
    )
    min_area: float = field(
        default=0.0,
        metadata=setting(
            SHARE, "Drop boxes with an area below this fraction of the frame.", option="--min-area"
        ),
    )
    max_area: float = field(
        default=1.0,
        metadata=setting(
            SHARE, "Drop boxes with an area above this fraction of the frame.", option="--max-area"
        ),
    )
    lines: tuple[PlaceText | str, ...] = field(
        default=(),
        metadata=setting(
            Places(zones=False),
            "Count objects that cross the line; implies --track; coordinates in pixels, or as fractions of the frame if"
            " all are at most 1.",
            option="--line",
            metavar="[NAME=]X1,Y1,X2,Y2",
        ),
    )
    """Texts are parsed by `places.parse_place`."""
    zones: tuple[PlaceText | str, ...] = field(
        default=(),
        metadata=setting(
            Places(zones=True),
            "Count objects inside the zone, and how long they stay; implies --track; coordinates as for lines.",
            option="--zone",
            metavar="[NAME=]X,Y,X,Y,X,Y...",
        ),
    )

    anchor: str | None = field(
        default=None,
        metadata=setting(
            Text("the name or number of a keypoint"),
            "Keypoint that is the position of a pose at lines and zones; default: the bottom centre of its box.",
            option="--anchor",
            metavar="KEYPOINT",
        ),
    )

    @property
    def wanted(self) -> bool:
        """True if any option is set."""
        return self != AnalyticsOptions()

    @property
    def tracks(self) -> bool:
        """True if identities are required."""
        return self.track or bool(self.lines) or bool(self.zones)

    def check(self, spec: ModelSpec) -> None:
        """Raise `UsageError` or `MissingExtraError` for mistakes that are detectable without a frame."""
        if self.wanted and spec.task not in BOX_TASKS:
            raise UsageError(
                f"{spec.name} has the task {spec.task}; expected a model with detections for filtering, tracking and"
                " counting"
            )
        self._select(spec)
        if self._anchor(spec) is not None and not (self.lines or self.zones):
            raise UsageError(
                "the anchor is the position that lines and zones use; expected a line or a zone too"
            )
        _places(self.lines, "line")
        _places(self.zones, "zone")
        if self.tracks and importlib.util.find_spec(LIBRARY) is None:
            raise MissingExtraError(LIBRARY, "track", "tracking", beside=LIBRARY)

    def open(self, spec: ModelSpec, fps: float | None, threshold: Threshold) -> Analytics:
        """The analytics of one source; raises the errors of `check`."""
        self.check(spec)
        wanted = self._select(spec)
        select = None if wanted == DetectionFilter() else wanted
        if not self.tracks:
            return Analytics(threshold, select=select)
        # The tracker loads SciPy, so it is imported only if needed.
        from edgevision.analytics.tracker import Tracker, TrackerOptions

        begin = max(least_of(threshold), TrackerOptions().begin_score)
        return Analytics(
            threshold,
            select=select,
            tracker=Tracker(fps, TrackerOptions(begin_score=begin)),
            lines=_places(self.lines, "line"),
            zones=_places(self.zones, "zone"),
            anchor=self._anchor(spec),
        )

    def open_if_wanted(self, spec: ModelSpec, fps: float | None, threshold: Threshold) -> Analytics | None:
        """As `open`; None if nothing is requested: results then pass without an analytics stage."""
        return self.open(spec, fps, threshold) if self.wanted else None

    def check_places(self, size_wh: tuple[int, int]) -> None:
        """Raise `UsageError` for a line or zone outside of frames of that size."""
        for place in _places(self.lines, "line"):
            place.line(size_wh)
        for place in _places(self.zones, "zone"):
            place.zone(size_wh)

    def _anchor(self, spec: ModelSpec) -> int | None:
        """Index of the keypoint; None for the bottom centre of the box."""
        if self.anchor is None:
            return None
        names = () if spec.keypoints is None else spec.keypoints.names
        known = {name: k for k, name in enumerate(names)} | {str(k): k for k in range(len(names))}
        if self.anchor not in known:
            raise UsageError(
                f"{spec.name} has no keypoint {self.anchor!r} to use as the position of objects; expected one of:"
                f" {', '.join(names) or 'none, because its task is ' + spec.task}"
            )
        return known[self.anchor]

    def _select(self, spec: ModelSpec) -> DetectionFilter:
        labels = labels_from_names(self.only, spec.classes) if self.only else None
        return DetectionFilter(labels, self.min_area, self.max_area)


def _places(given: tuple[PlaceText | str, ...], kind: str) -> list[PlaceText]:
    """Places with unique names; the default name is kind and number."""
    places = [parse_place(place) if isinstance(place, str) else place for place in given]
    places = [
        place if place.name else replace(place, name=f"{kind} {number}")
        for number, place in enumerate(places, 1)
    ]
    names = [place.name for place in places]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{names.count(name)} {kind}s are called {name!r}; expected different names")
    return places
