"""Conversion of detections to supervision's form."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("supervision")

from edgevision.contract.results import Detections, Instances, Mask

FOUND = Detections(
    np.array([[1, 2, 11, 22], [5, 5, 9, 9]], np.float32),
    np.array([0.9, 0.4], np.float32),
    np.array([1, 0], np.int32),
    ("person", "car"),
)


def test_all_fields_arrive() -> None:
    theirs = FOUND.to_supervision(np.array([7, -1], np.int64))
    assert np.array_equal(theirs.xyxy, FOUND.boxes)
    assert theirs.confidence is not None
    assert theirs.confidence.tolist() == pytest.approx([0.9, 0.4])
    assert theirs.class_id is not None
    assert theirs.class_id.tolist() == [1, 0]
    assert theirs.tracker_id is not None
    assert theirs.tracker_id.tolist() == [7, -1]
    assert list(theirs.data["class_name"]) == ["car", "person"]
    assert theirs.mask is None


def test_ours_are_not_changed_through_theirs() -> None:
    theirs = FOUND.to_supervision()
    assert theirs.tracker_id is None
    theirs.xyxy[:] = 0
    assert FOUND.boxes[0, 2] == 11


def test_nothing_found() -> None:
    assert len(Detections.empty().to_supervision()) == 0


def test_masks_keep_their_position() -> None:
    masks = (Mask(1, 2, np.ones((3, 2), np.bool_)), Mask(4, 0, np.eye(2, dtype=np.bool_)))
    theirs = Instances(FOUND.boxes, FOUND.scores, FOUND.labels, FOUND.classes, masks).to_supervision()
    stacked = np.asarray(theirs.mask)
    assert stacked.shape == (2, 5, 6)
    assert np.argwhere(stacked[1]).tolist() == [[0, 4], [1, 5]]
    assert stacked[0].sum() == 6
    assert stacked[0, 2:5, 1:3].all()
