"""Filters by class and area."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.analytics.filters import DetectionFilter, labels_from_names
from edgevision.contract.results import Detections, Instances, Mask
from edgevision.errors import UsageError

SIZE = (100, 100)
FOUND = Detections(
    np.array([[0, 0, 10, 10], [0, 0, 50, 50], [0, 0, 100, 100]], np.float32),
    np.array([0.9, 0.8, 0.7], np.float32),
    np.array([0, 1, 0], np.int32),
    ("person", "car"),
)


@pytest.mark.parametrize(
    ("select", "kept"),
    [
        (DetectionFilter(), [0.9, 0.8, 0.7]),
        (DetectionFilter(labels=frozenset({0})), [0.9, 0.7]),
        (DetectionFilter(labels=frozenset()), []),
        (DetectionFilter(min_area=0.01), [0.9, 0.8, 0.7]),  # the limit itself is kept
        (DetectionFilter(min_area=0.02), [0.8, 0.7]),
        (DetectionFilter(max_area=0.25), [0.9, 0.8]),
        (DetectionFilter(frozenset({0}), 0.02, 1.0), [0.7]),
    ],
)
def test_a_filter_keeps_matching_detections(select: DetectionFilter, kept: list[float]) -> None:
    assert select.apply(FOUND, SIZE).scores.tolist() == pytest.approx(kept)
    assert len(select.apply(Detections.empty(), SIZE)) == 0


def test_masks_stay_with_their_boxes() -> None:
    masks = tuple(Mask(0, 0, np.ones((side, 1), np.bool_)) for side in (1, 2, 3))
    found = Instances(FOUND.boxes, FOUND.scores, FOUND.labels, FOUND.classes, masks)
    left = DetectionFilter(labels=frozenset({1})).apply(found, SIZE)
    assert isinstance(left, Instances)
    assert [mask.area for mask in left.masks] == [2]


@pytest.mark.parametrize("areas", [(0.5, 0.4), (-0.1, 1), (0, 1.5)])
def test_invalid_areas_are_refused(areas: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="shares of the frame"):
        DetectionFilter(None, *areas)


def test_names_and_numbers_of_classes() -> None:
    assert labels_from_names(("car", "person"), FOUND.classes) == {0, 1}
    assert labels_from_names(("1",), FOUND.classes) == {1}
    with pytest.raises(UsageError, match="no class 'lorry'; expected one of: person, car"):
        labels_from_names(("person", "lorry"), FOUND.classes)
