"""Identities of objects with known tracks."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("trackers")

from edgevision.analytics.tracker import Tracker, TrackerOptions
from edgevision.contract.results import Detections


def boxes_at(*lefts: float, score: float = 0.9, labels: tuple[int, ...] = ()) -> Detections:
    """Boxes of 40 x 80, in rows of their own, so that they never meet."""
    boxes = np.array([[x, 100 * k, x + 40, 100 * k + 80] for k, x in enumerate(lefts)], np.float32)
    scores = np.full(len(lefts), score, np.float32)
    kinds = np.array(labels or (0,) * len(lefts), np.int32)
    return Detections(boxes.reshape(-1, 4), scores, kinds)


def test_identities_begin_when_confirmed_and_last() -> None:
    tracker = Tracker(10.0)
    seen = [tracker.update(boxes_at(10 + 4 * n, 300 - 4 * n), n / 10).tolist() for n in range(20)]
    assert seen[0] == [-1, -1]
    assert sorted(seen[1]) == [1, 2]
    assert all(ids == seen[1] for ids in seen[1:])


def test_ids_follow_the_rows_of_the_detections() -> None:
    tracker = Tracker(10.0)
    for n in range(5):
        forwards = tracker.update(boxes_at(10, 300), n / 10)
    found = boxes_at(10, 300)
    backwards = tracker.update(found[[1, 0]], 0.5)
    assert backwards.tolist() == forwards[::-1].tolist()
    assert backwards.dtype == np.int64


def test_no_detections_have_no_identities() -> None:
    tracker = Tracker(10.0)
    assert tracker.update(Detections.empty(), 0.0).shape == (0,)
    tracker.update(boxes_at(10), 0.1)
    assert tracker.update(Detections.empty(), 0.2).shape == (0,)


def test_a_weak_detection_carries_an_identity_on_and_begins_none() -> None:
    tracker = Tracker(10.0)
    assert all(tracker.update(boxes_at(10, score=0.3), n / 10).tolist() == [-1] for n in range(5))
    for n in range(5, 10):
        tracker.update(boxes_at(10), n / 10)
    assert tracker.update(boxes_at(10, score=0.15), 1.0).tolist() == [1]


def test_another_class_for_a_moment_is_the_same_thing() -> None:
    tracker = Tracker(10.0)
    ids = [tracker.update(boxes_at(10, labels=(n % 2,)), n / 10).tolist() for n in range(6)]
    assert ids[1:] == [[1]] * 5


@pytest.mark.parametrize(("gap_s", "same"), [(1.5, True), (2.5, False)])
@pytest.mark.parametrize("fps", [10.0, 60.0])
def test_a_gap_ends_identities_by_time_not_by_frames(gap_s: float, same: bool, fps: float) -> None:
    tracker = Tracker(fps, TrackerOptions(lost_s=2.0))
    for n in range(10):
        tracker.update(boxes_at(10), n / fps)
    later_s = 9 / fps + gap_s
    after = [tracker.update(boxes_at(10), later_s + n / fps).tolist() for n in range(3)]
    assert after[-1] == ([1] if same else [2])


def test_identities_are_not_given_again_when_a_video_begins_again() -> None:
    tracker = Tracker(10.0)
    for n in range(5):
        first = tracker.update(boxes_at(10, 300), n / 10)
    again = [tracker.update(boxes_at(10, 300), n / 10).tolist() for n in range(5)]
    assert again[0] == [-1, -1]
    assert not set(first.tolist()) & set(again[-1])
    assert min(again[-1]) == 3


def test_two_frames_of_the_same_moment() -> None:
    tracker = Tracker(10.0)
    for n in range(5):
        tracker.update(boxes_at(10), n / 10)
    assert tracker.update(boxes_at(10), 0.4).tolist() == [1]
