"""Crossings and visits of tracks with known counts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from edgevision.analytics.counting import AnalyticsEvent, LineCounter, Sighting, ZoneCounter
from edgevision.analytics.places import Line, Point, Zone

DOWN = Line("door", (50, 0), (50, 100))
"""Drawn downwards: in is from the right of the picture to its left."""
SQUARE = Zone("room", ((20, 20), (80, 20), (80, 80), (20, 80)))


def walk(
    counter: LineCounter | ZoneCounter, points: Sequence[Point | None], identity: int = 1
) -> list[AnalyticsEvent]:
    """One identity, a point a second; None: out of sight."""
    events: list[AnalyticsEvent] = []
    for second, xy in enumerate(points):
        seen = [] if xy is None else [Sighting(identity, 0, xy)]
        events += counter.update(seen, float(second))
    return events


def kinds(events: list[AnalyticsEvent]) -> list[str]:
    return [event.direction or event.kind for event in events]


@pytest.mark.parametrize(
    ("xs", "expected"),
    [
        ([], []),
        ([70], []),
        ([70, 30], ["in"]),
        ([30, 70], ["out"]),
        ([70, 30, 70], ["in", "out"]),
        ([70, 50, 70], []),  # touches the line
        ([70, 50, 30], ["in"]),  # stands on it in between
        ([70, 47, 53, 47, 53, 70], []),  # trembles on it and turns back
        ([70, 47, 53, 47, 53, 30], ["in"]),  # trembles on it and goes on
        ([50, 30], []),  # began on it
        ([52, 30, 70], ["out"]),  # began within the band, then came back over it
        ([70, 30, 30, 30], ["in"]),
        ([70, None, None, 30], ["in"]),  # lost and found again on the other side
        ([70, None, None, None, None, 30], []),  # out of sight for too long: another way may have been taken
    ],
)
def test_a_track_across_a_line(xs: list[float | None], expected: list[str]) -> None:
    counter = LineCounter(DOWN, hysteresis_px=5, forget_s=3)
    assert kinds(walk(counter, [None if x is None else (x, 50) for x in xs])) == expected
    assert counter.count("in") == expected.count("in")
    assert counter.count("out") == expected.count("out")


def test_left_to_right_counts_as_in() -> None:
    rightwards = LineCounter(Line("l", (0, 50), (100, 50)))
    assert kinds(walk(rightwards, [(50, 20), (50, 80)])) == ["in"]  # downwards in the picture
    leftwards = LineCounter(Line("l", (100, 50), (0, 50)))
    assert kinds(walk(leftwards, [(50, 20), (50, 80)])) == ["out"]


def test_going_around_the_end_is_no_crossing() -> None:
    counter = LineCounter(DOWN, hysteresis_px=5)
    assert walk(counter, [(70, 90), (60, 120), (40, 120), (30, 90)]) == []
    assert kinds(walk(counter, [(30, 50), (70, 50)])) == ["out"]


def test_crossings_are_counted_by_class_with_their_time() -> None:
    counter = LineCounter(DOWN)
    counter.update([Sighting(1, 2, (70, 50)), Sighting(2, 7, (70, 60))], 0.0)
    events = counter.update([Sighting(1, 2, (30, 50)), Sighting(2, 7, (30, 60))], 1.5)
    assert counter.counts == {(2, "in"): 1, (7, "in"): 1}
    assert [(e.identity, e.label, e.time_s, e.place) for e in events] == [
        (1, 2, 1.5, "door"),
        (2, 7, 1.5, "door"),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_random_walks_cross_at_every_change_of_side(seed: int) -> None:
    """On an endless line in and out take turns, and differ by which side a walk began and ended on."""
    rng = np.random.default_rng(seed)
    counter = LineCounter(Line("l", (50, -1e6), (50, 1e6)), hysteresis_px=4)
    xs = 50 + np.cumsum(rng.normal(0, 3, 400))
    events = walk(counter, [(float(x), float(y)) for x, y in zip(xs, rng.normal(0, 9, 400), strict=True)])
    sides = [np.sign(x - 50) for x in xs if abs(x - 50) > 4]
    changes = [int(b) for a, b in itertools.pairwise(sides) if a != b]
    assert [{"in": -1, "out": 1}[way] for way in kinds(events)] == changes
    assert all(a != b for a, b in itertools.pairwise(kinds(events)))


@pytest.mark.parametrize("seed", range(20))
def test_trembling_within_the_band_is_never_counted(seed: int) -> None:
    xs = np.random.default_rng(seed).uniform(45, 55, 300)
    assert walk(LineCounter(DOWN, hysteresis_px=5), [(70.0, 50.0), *((float(x), 50.0) for x in xs)]) == []


@pytest.mark.parametrize(
    ("xs", "expected"),
    [
        ([], []),
        ([5], []),
        ([50], ["appeared"]),
        ([5, 50], ["entered"]),
        ([5, 50, 5], ["entered", "left"]),
        ([5, 22, 19, 22, 50], ["entered"]),  # trembles on the border
        ([50, 18, 22, 18, 5], ["appeared", "left"]),
        ([5, 50, None, None, 50], ["entered"]),  # out of sight, and found again inside
        ([5, 50, None, None, 5], ["entered", "left"]),
        ([5, 50, None, None, None, None, None], ["entered", "vanished"]),
    ],
)
def test_a_track_through_a_zone(xs: list[float | None], expected: list[str]) -> None:
    counter = ZoneCounter(SQUARE, 5, 3)
    assert kinds(walk(counter, [None if x is None else (x, 50) for x in xs])) == expected


def test_dwell_times() -> None:
    counter = ZoneCounter(SQUARE, 0, 3)
    events = walk(counter, [(5, 50), (50, 50), (50, 50), (50, 50), (5, 50)])
    assert [(event.time_s, event.dwell_s) for event in events] == [(1, None), (4, 3)]
    gone = walk(ZoneCounter(SQUARE, 0, 3), [(50, 50), (50, 50), *[None] * 6])
    assert (gone[-1].kind, gone[-1].time_s, gone[-1].dwell_s) == ("vanished", 1, 1)
    assert (counter.dwell.visits, counter.dwell.mean_s, counter.dwell.longest_s) == (1, 3, 3)


def test_the_inside_of_a_hollow_zone() -> None:
    hollow = Zone("u", ((0, 0), (90, 0), (90, 90), (60, 90), (60, 30), (30, 30), (30, 90), (0, 90)))
    counter = ZoneCounter(hollow)
    sightings = [Sighting(1, 0, (15, 60)), Sighting(2, 0, (45, 60)), Sighting(3, 0, (75, 60))]
    counter.update(sightings, 0.0)
    assert [visit.identity for visit in counter.inside()] == [1, 3]


@pytest.mark.parametrize("seed", range(20))
def test_entered_minus_left_is_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counter = ZoneCounter(SQUARE, 2, 3)
    places = rng.uniform(0, 100, (8, 2))
    ended: list[float] = []
    for second in range(200):
        places = np.clip(places + rng.normal(0, 6, places.shape), 0, 100)
        seen = np.flatnonzero(rng.random(8) < 0.6)
        sightings = [Sighting(int(k), 0, (float(places[k, 0]), float(places[k, 1]))) for k in seen]
        events = counter.update(sightings, float(second))
        ended += [event.dwell_s for event in events if event.dwell_s is not None]
        counts = counter.counts
        came, went = counts["entered"] + counts["appeared"], counts["left"] + counts["vanished"]
        assert came - went == len(counter.inside())
    assert counter.dwell.visits == len(ended) > 0
    assert counter.dwell.total_s == pytest.approx(sum(ended))
    assert min(ended) >= 0


def test_a_clock_that_steps_back_forgets_identities_out_of_sight() -> None:
    zone, line = ZoneCounter(SQUARE), LineCounter(DOWN)
    for counter in (zone, line):
        counter.update([Sighting(1, 0, (70, 50))], 60.0)
    assert kinds(list(zone.update([Sighting(2, 0, (30, 50))], 0.0))) == ["appeared", "vanished"]
    assert [visit.identity for visit in zone.inside()] == [2]
    line.update([], 0.0)
    assert line.update([Sighting(1, 0, (30, 50))], 0.1) == ()
