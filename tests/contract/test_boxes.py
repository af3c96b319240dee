"""Functions of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.contract.boxes import area, iou_matrix


def test_no_boxes() -> None:
    none = np.empty((0, 4))
    assert area(none).shape == (0,)
    assert iou_matrix(none, np.zeros((3, 4))).shape == (0, 3)


@pytest.mark.parametrize(
    ("left", "right", "iou"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1.0),
        ([0, 0, 2, 2], [2, 0, 4, 2], 0.0),
        ([0, 0, 2, 2], [1, 0, 3, 2], 1 / 3),
        ([0, 0, 4, 4], [1, 1, 3, 3], 0.25),
        ([0, 0, 0, 0], [0, 0, 0, 0], 0.0),
        ([2, 2, 0, 0], [0, 0, 2, 2], 0.0),
    ],
)
def test_iou(left: list[float], right: list[float], iou: float) -> None:
    assert iou_matrix(np.array([left]), np.array([right]))[0, 0] == pytest.approx(iou)
