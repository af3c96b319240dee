"""The analytics stage between results and sinks, with fixed identities."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from edgevision.analytics.analytics import Analytics, frame_time_s
from edgevision.analytics.counting import AnalyticsEvent
from edgevision.analytics.filters import DetectionFilter
from edgevision.analytics.observation import Observation
from edgevision.analytics.options import AnalyticsOptions
from edgevision.analytics.places import Line, Zone
from edgevision.contract.results import Classification, Detections, OrientedBoxes, Poses
from edgevision.contract.spec import KeypointSpec
from edgevision.contract.thresholds import ClassThresholds
from edgevision.errors import UsageError
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sinks.frame_result import FrameResult, StageTimes
from edgevision.sinks.record import record_of
from edgevision.sources.frames import SourceFrame
from tests.contract.test_poses import OBB, POSE
from tests.doubles import BrightnessSession, ListSink, MemorySource

SIZE = (200, 100)
LINE = Line("door", (100, 0), (100, 100))
ZONE = Zone("room", ((0, 0), (90, 0), (90, 100), (0, 100)))


class FixedIdentities:
    """A tracker that returns fixed identities."""

    def __init__(self, ids: Iterable[list[int]]) -> None:
        self.ids = iter(ids)
        self.boxes: list[npt.NDArray[np.float32]] = []

    def update(self, detections: Detections, time_s: float) -> npt.NDArray[np.int64]:
        self.boxes.append(detections.boxes)
        return np.array(next(self.ids), np.int64)


def frame(position_s: float | None, size_wh: tuple[int, int] = SIZE, captured_ns: int = 0) -> SourceFrame:
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    return SourceFrame(image, 0, "s", captured_ns, 1000.0, position_s, 0)


def at(*xs: float, scores: tuple[float, ...] = (), label: int = 0) -> Detections:
    """Boxes 10 wide whose feet are at y = 50."""
    boxes = np.array([[x - 5, 20, x + 5, 50] for x in xs], np.float32).reshape(-1, 4)
    return Detections(
        boxes, np.array(scores or (0.9,) * len(xs), np.float32), np.full(len(xs), label, np.int32)
    )


def observed(analytics: Analytics, found: Detections, time_s: float) -> Observation:
    observation = analytics.observe(frame(time_s), found)[1]
    assert observation is not None
    return observation


def test_the_track_of_one_person() -> None:
    analytics = Analytics(size_wh=SIZE, tracker=FixedIdentities([[1]] * 4), lines=[LINE], zones=[ZONE])
    seen = [observed(analytics, at(x), n / 2) for n, x in enumerate((150, 120, 80, 60))]
    assert [[e.kind for e in o.events] for o in seen] == [[], [], ["crossed", "entered"], []]
    assert [(o.lines[0].crossed_in, o.zones[0].inside, o.zones[0].mean_dwell_s) for o in seen] == [
        (0, 0, 0.0),
        (0, 0, 0.0),
        (1, 1, 0.0),
        (1, 1, 0.5),
    ]
    assert seen[3].trails[0].points.tolist() == [[150, 50], [120, 50], [80, 50], [60, 50]]
    assert analytics.seen == 1


def test_a_threshold_that_rises_hides_identities_that_never_reached_it() -> None:
    analytics = Analytics(size_wh=SIZE, tracker=FixedIdentities([[1, 2]] * 3), threshold=0.25)
    found = at(10, 50, scores=(0.6, 0.9))
    counts = []
    for number, threshold in enumerate((0.25, 0.8, 0.3)):
        analytics.threshold = threshold
        left, observation = analytics.observe(frame(number / 10), found)
        assert observation is not None
        assert len(observation.trails) == len(observation.ids)
        counts.append(len(left) if isinstance(left, Detections) else -1)
    assert counts == [2, 1, 2]


def test_weak_detections_without_an_identity_are_left_out() -> None:
    analytics = Analytics(size_wh=SIZE, tracker=FixedIdentities([[1], [1, -1, -1]]), threshold=0.25)
    analytics.observe(frame(0.0), at(10, scores=(0.6,)))
    found = at(10, 50, 90, scores=(0.12, 0.2, 0.3))
    left, observation = analytics.observe(frame(0.1), found)
    assert isinstance(left, Detections)
    assert left.scores.tolist() == pytest.approx([0.12, 0.3])
    assert observation is not None
    assert observation.ids.tolist() == [1, -1]
    assert analytics.min_confidence == 0.1


def test_without_a_tracker_it_filters() -> None:
    analytics = Analytics(size_wh=SIZE, select=DetectionFilter(frozenset({1})))
    left, observation = analytics.observe(frame(0.0), at(10, label=0))
    assert isinstance(left, Detections)
    assert (len(left), observation, analytics.min_confidence) == (0, None, 0.25)


def test_results_without_detections_pass() -> None:
    result = Classification(np.array([1], np.float32))
    assert Analytics(size_wh=SIZE).observe(frame(0.0), result) == (result, None)


def test_the_class_of_an_identity_is_that_of_most_score() -> None:
    analytics = Analytics(size_wh=SIZE, tracker=FixedIdentities([[1]] * 3), lines=[LINE])
    observed(analytics, at(150, label=2), 0.0)
    observed(analytics, at(120, label=2), 0.1)
    (event,) = observed(analytics, at(80, label=7), 0.2).events
    assert event.label == 2


def test_a_camera_that_changes_its_size_is_scaled_to_the_first_size() -> None:
    reported = FixedIdentities([[1]] * 2)
    analytics = Analytics(size_wh=SIZE, tracker=reported, lines=[LINE])
    analytics.observe(frame(0.0), at(150))
    small = Detections(np.float32(0.5) * at(80).boxes, np.array([0.9], np.float32), np.array([0], np.int32))
    left, observation = analytics.observe(frame(0.1, (100, 50)), small)
    assert np.array_equal(reported.boxes[1], at(80).boxes)
    assert isinstance(left, Detections)
    assert np.array_equal(left.boxes, small.boxes)
    assert observation is not None
    assert [event.direction for event in observation.events] == ["in"]


def test_trails_contain_recent_positions_of_visible_identities() -> None:
    analytics = Analytics(size_wh=SIZE, tracker=FixedIdentities([[1]] * 30 + [[]]))
    for n in range(30):
        observation = observed(analytics, at(10 + n), n / 10)
    assert len(observation.trails[0].points) == 16
    assert observed(analytics, at(), 3.0).trails == ()


def test_time_is_the_place_in_a_video_or_a_clock_that_does_not_step() -> None:
    assert frame_time_s(frame(2.5, captured_ns=9)) == 2.5
    assert frame_time_s(frame(None, captured_ns=3_000_000_000)) == 3.0


def test_a_pipeline_passes_observations_on() -> None:
    analytics = Analytics(0.0, tracker=FixedIdentities([[1]] * 5), lines=[Line("l", (1, 0), (1, 9))])
    sink = ListSink(annotated=True)
    source = MemorySource(5)
    source.given = 100  # bright enough for a score
    source.frame_count = 105
    run_pipeline(BrightnessSession(), source, [sink], analytics=analytics)
    seen = [processed.observation for processed in sink.seen]
    assert [None if o is None else o.ids.tolist() for o in seen] == [[1]] * 5


def test_an_event_of_a_camera_has_a_calendar_time() -> None:
    """The steady clock says 7 s; one vanished who was last seen 4 s before, at 1000 - 4 of the calendar."""
    event = AnalyticsEvent("vanished", "room", 3, 0, 3.0, dwell_s=1.5)
    observation = Observation(np.empty(0, np.int64), (event,), (), (), (), SIZE, 7.0)
    seen = frame(None, captured_ns=7_000_000_000)
    record = record_of(
        FrameResult(seen, Detections.empty(("lamp",)), StageTimes(0, 0, 0, 0), 0.0, observation)
    )
    assert record["events"] == [
        {"event": "vanished", "place": "room", "id": 3, "class": "lamp", "at": 996.0, "dwell_s": 1.5}
    ]


def standing(x: float, confidence: float) -> Poses:
    """A person at x = 50 whose second keypoint, the foot, is at `x`."""
    person = at(50)
    points = np.array([[[50, 20, 0.9], [x, 45, confidence]]], np.float32)
    return Poses(person.boxes, person.scores, person.labels, (), points, KeypointSpec(("head", "foot")))


def test_a_keypoint_is_the_position() -> None:
    analytics = Analytics(size_wh=SIZE, tracker=FixedIdentities([[1]] * 4), lines=[LINE], anchor=1)
    assert not observed(analytics, standing(80, 0.9), 0.0).events
    # A keypoint that is not visible has no position, wherever it is.
    assert not observed(analytics, standing(190, 0.4), 0.1).events
    assert not observed(analytics, standing(90, 0.9), 0.2).events
    (event,) = observed(analytics, standing(120, 0.9), 0.3).events
    assert event.kind == "crossed"


def test_a_keypoint_is_scaled_to_the_reference_size() -> None:
    analytics = Analytics(size_wh=SIZE, tracker=FixedIdentities([[1]] * 2), lines=[LINE], anchor=1)
    analytics.observe(frame(0.0, (400, 200)), standing(160, 0.9))
    observation = analytics.observe(frame(0.1, (400, 200)), standing(240, 0.9))[1]
    assert observation is not None
    assert [event.kind for event in observation.events] == ["crossed"]
    assert observation.trails[0].points.tolist() == [[80, 22.5], [120, 22.5]]


@pytest.mark.parametrize(("anchor", "index"), [("foot", 1), ("0", 0), ("left", None), ("2", None)])
def test_an_anchor_is_a_keypoint_of_the_model(anchor: str, index: int | None) -> None:
    options = AnalyticsOptions(anchor=anchor, lines=("door=0.5,0,0.5,1",))
    if index is None:
        with pytest.raises(UsageError, match=rf"m has no keypoint '{anchor}' .* expected one of: head, foot"):
            options.check(POSE)
    else:
        options.check(POSE)
    with pytest.raises(UsageError, match="expected one of: none, because its task is obb"):
        options.check(OBB)
    if index is not None:
        with pytest.raises(UsageError, match="expected a line or a zone too"):
            AnalyticsOptions(anchor=anchor).check(POSE)


def test_tracking_keeps_the_kind_of_the_result() -> None:
    analytics = Analytics(size_wh=SIZE, tracker=FixedIdentities([[1, -1]]))
    both = at(50, 80, scores=(0.9, 0.1))
    boxes = np.array([[50, 35, 30, 10, 1.5], [80, 35, 30, 10, 1.5]], np.float32)
    found = OrientedBoxes(both.boxes, both.scores, both.labels, (), boxes)
    result, observation = analytics.observe(frame(0.0), found)
    assert isinstance(result, OrientedBoxes)
    assert len(result.oriented) == 1
    assert observation is not None
    assert observation.trails[0].points.tolist() == [[50, 50]]


def test_an_identity_counts_once_a_detection_reached_the_threshold_of_its_class() -> None:
    analytics = Analytics(
        ClassThresholds((0.6, 0.3)), size_wh=SIZE, tracker=FixedIdentities([[1, 2]] * 2), lines=[LINE]
    )
    assert analytics.min_confidence == 0.1
    found = Detections(at(150, 150).boxes, np.array([0.5, 0.5], np.float32), np.array([0, 1], np.int32))
    kept, _ = analytics.observe(frame(0.0), found)
    assert isinstance(kept, Detections)
    assert kept.labels.tolist() == [1]
    crossing = Detections(at(50, 50).boxes, found.scores, found.labels)
    assert [event.label for event in observed(analytics, crossing, 1.0).events] == [1]


def test_without_a_tracker_each_class_has_its_threshold_before_the_analytics() -> None:
    thresholds = ClassThresholds((0.6, 0.3))
    assert Analytics(thresholds).min_confidence == thresholds


def test_the_pipeline_s_threshold_is_the_default_of_analytics() -> None:
    session = BrightnessSession()
    session.threshold = ClassThresholds((30 / 255,))
    for analytics, expected in ((Analytics(), 10), (Analytics(35 / 255), 5)):
        sink = ListSink()
        run_pipeline(session, MemorySource(40), [sink], analytics=analytics)
        counts = [len(seen.result) for seen in sink.seen]  # type: ignore[arg-type]  # detections
        assert sum(counts) == expected
    assert Analytics().threshold == 0.25
