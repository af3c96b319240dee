"""Drawing of lines, zones and identities."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.analytics.observation import LineState, Observation, Trail, ZoneState
from edgevision.analytics.places import Line, Zone
from edgevision.contract.image import Frame
from edgevision.contract.results import Detections
from edgevision.drawing.observation import LINE_COLOUR, annotate
from edgevision.sinks.frame_result import FrameResult, StageTimes
from edgevision.sources.frames import SourceFrame

SIZE = (400, 300)


def processed(observation: Observation | None, size_wh: tuple[int, int] = SIZE) -> FrameResult:
    image = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
    frame = SourceFrame(image, 0, "s", 0, 0.0, 0.0, 0)
    boxes = np.array([[200, 100, 240, 180]], np.float32) * (size_wh[0] / SIZE[0])
    found = Detections(boxes.astype(np.float32), np.array([0.9], np.float32), np.array([0], np.int32), ("a",))
    return FrameResult(frame, found, StageTimes(0, 0, 0, 0), 0.0, observation)


def drawn(observation: Observation | None, size_wh: tuple[int, int] = SIZE) -> Frame:
    what = processed(observation, size_wh)
    annotate(what.frame.image_bgr, what.result, what.observation)
    return what.frame.image_bgr


def observation(
    lines: tuple[LineState, ...] = (),
    zones: tuple[ZoneState, ...] = (),
    trails: tuple[Trail, ...] = (),
    identity: int = -1,
) -> Observation:
    return Observation(np.array([identity], np.int64), (), lines, zones, trails, SIZE, 0.0)


def test_without_places_and_identities_it_is_the_result_alone() -> None:
    assert np.array_equal(drawn(observation()), drawn(None))


def test_an_identity_replaces_the_score() -> None:
    changed = np.argwhere((drawn(observation(identity=7)) != drawn(None)).any(axis=2))
    assert len(changed)
    assert changed[:, 0].max() < 100  # above the box, in its label


@pytest.mark.parametrize("factor", [1, 2])
def test_a_line_scales_with_the_frame(factor: int) -> None:
    line = LineState(Line("l", (100, 50), (100, 250)), 1, 2)
    picture = drawn(observation((line,)), (SIZE[0] * factor, SIZE[1] * factor))
    assert picture[200 * factor, 100 * factor].tolist() == list(LINE_COLOUR)
    assert picture[270 * factor, 100 * factor].tolist() == [90, 90, 90]


def test_the_arrow_points_in_the_in_direction() -> None:
    downwards = drawn(observation((LineState(Line("l", (100, 50), (100, 250)), 0, 0),)))
    assert (downwards[140:160, 60:95] != 90).any()
    assert (downwards[140:160, 105:140] == 90).all()


def test_a_zone_is_tinted_inside_only() -> None:
    zone = Zone("z", ((20, 200), (120, 200), (120, 290), (20, 290)))
    picture = drawn(observation(zones=(ZoneState(zone, 2, 3.0),)))
    assert (picture[250, 60] != 90).any()
    assert (picture[250, 150] == 90).all()


def test_a_zone_up_to_the_frame_edge_can_be_drawn() -> None:
    zone = Zone("z", ((0, 0), (400, 0), (400, 300), (0, 300)))
    assert (drawn(observation(zones=(ZoneState(zone, 0, 0.0),)))[299, 399] != 90).any()


def test_a_trail_is_where_the_feet_were() -> None:
    trail = Trail(3, np.array([[50, 250], [150, 250]], np.float32))
    picture = drawn(observation(trails=(trail,)))
    assert (picture[250, 100] != 90).any()
    alone = Trail(3, np.array([[50, 250]], np.float32))
    assert drawn(observation(trails=(alone,))).shape == picture.shape
