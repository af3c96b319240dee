"""The options of `edgevision run` that say what to follow and count, and the table at its end."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from edgevision.counting import ZoneCounter
from edgevision.errors import MissingExtraError, UsageError
from edgevision.filters import DetectionFilter, labels_from_names
from edgevision.frames import Source
from edgevision.observer import Observer
from edgevision.places import PlaceText, parse_place
from edgevision.sources import ImageSource
from edgevision.spec import ModelSpec

LIBRARY = "trackers"


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What is to be followed and counted."""

    track: bool
    lines: tuple[str, ...]
    zones: tuple[str, ...]
    only: str | None
    min_area: float
    max_area: float

    @property
    def tracks(self) -> bool:
        """True if identities are needed."""
        return self.track or bool(self.lines) or bool(self.zones)


def watch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--track``, ``--line``, ``--zone``, ``--only``, ``--min-area``, ``--max-area``, as the one argument `watch`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        names = ("track", "line", "zone", "only", "min_area", "max_area")
        return command(*args, watch=WatchOptions(*(kwargs.pop(name) for name in names)), **kwargs)

    share = click.FloatRange(0, 1)
    options = (
        click.option("--track", is_flag=True, help="Give detections identities that last."),
        click.option(
            "--line",
            multiple=True,
            metavar="[NAME=]X1,Y1,X2,Y2",
            help="Count who crosses it; pixels, or shares of the frame if no number exceeds 1.",
        ),
        click.option(
            "--zone",
            multiple=True,
            metavar="[NAME=]X,Y,X,Y,X,Y...",
            help="Count who is in it, and for how long.",
        ),
        click.option("--only", metavar="CLASS,...", help="Leave out other classes."),
        click.option(
            "--min-area", type=share, default=0.0, help="Leave out boxes of a smaller share of the frame."
        ),
        click.option(
            "--max-area", type=share, default=1.0, help="Leave out boxes of a larger share of the frame."
        ),
    )
    for option in reversed(options):
        wrapper = option(wrapper)
    return wrapper


def open_observer(watch: WatchOptions, spec: ModelSpec, source: Source, threshold: float) -> Observer:
    """What the options ask for, for one source; raises `UsageError` where it cannot be."""
    select = DetectionFilter(
        None if watch.only is None else labels_from_names(watch.only, spec.classes),
        watch.min_area,
        watch.max_area,
    )
    wanted = watch.tracks or select != DetectionFilter()
    if wanted and spec.task not in ("detect", "instances"):
        raise UsageError(
            f"{spec.name} answers {spec.task}: only detections can be filtered, followed and counted"
        )
    if not watch.tracks:
        return Observer(source.size_wh, select=select, threshold=threshold)
    if isinstance(source, ImageSource):
        raise UsageError(
            f"{source.name} holds images, which have no time: give a video or a camera to track in"
        )
    if importlib.util.find_spec(LIBRARY) is None:
        raise MissingExtraError(LIBRARY, "track", "tracking", beside=LIBRARY)
    # Loads SciPy, which only those who track should wait for.
    from edgevision.tracking.tracker import Tracker, TrackerOptions

    begin = max(threshold, TrackerOptions().begin_score)
    size_wh = source.size_wh
    return Observer(
        size_wh,
        select=select,
        tracker=Tracker(source.fps, TrackerOptions(begin_score=begin)),
        lines=[place.line(size_wh) for place in _places(watch.lines, "line")],
        zones=[place.zone(size_wh) for place in _places(watch.zones, "zone")],
        threshold=threshold,
    )


def count_lines(observer: Observer, classes: Sequence[str]) -> list[str]:
    """The table at the end of a run; empty where nothing was counted."""
    rows = []
    for line in observer.lines:
        labels = sorted({label for label, _ in line.counts})
        counts: list[tuple[str, int, int]] = [
            (
                classes[label] if label < len(classes) else str(label),
                line.counts.get((label, "in"), 0),
                line.counts.get((label, "out"), 0),
            )
            for label in labels
        ]
        if len(counts) != 1:
            counts.append(("all", line.count("in"), line.count("out")))
        rows += [f"{line.line.name:16} {name:12} in {inn:5} out {out:5}" for name, inn, out in counts]
    return rows + [_zone_row(zone) for zone in observer.zones]


def _zone_row(zone: ZoneCounter) -> str:
    counts = zone.counts
    return (
        f"{zone.zone.name:16} inside {len(zone.inside())}; entered {counts['entered']}, appeared {counts['appeared']},"
        f" left {counts['left']}, vanished {counts['vanished']}; {zone.dwell.visits} visits over:"
        f" mean {zone.dwell.mean_s:.1f} s, longest {zone.dwell.longest_s:.1f} s"
    )


def _places(texts: tuple[str, ...], kind: str) -> list[PlaceText]:
    places = [parse_place(text, f"{kind} {number}") for number, text in enumerate(texts, 1)]
    names = [place.name for place in places]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{names.count(name)} {kind}s are called {name!r}; names must differ")
    return places
