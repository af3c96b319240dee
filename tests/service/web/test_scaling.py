from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevision.contract.results import Classification, Detections, Instances, Mask, Result, Segmentation
from edgevision.service.web.scaling import scaled_to_width
from tests.service.web.fake_manager import result

ROAD = Segmentation(np.pad(np.ones((50, 100), np.uint8), ((50, 0), (0, 0))), ("sky", "road"))


def of(found: Result, width: int) -> Result:
    return scaled_to_width(result(side=100, found=found), width).result


@pytest.mark.parametrize(("width", "expected"), [(320, 100), (100, 100), (50, 50), (1, 1)])
def test_images_are_never_larger_than_the_frame(width: int, expected: int) -> None:
    processed = result(side=100)
    scaled = scaled_to_width(processed, width)
    assert scaled.frame.image_bgr.shape == (expected, expected, 3)
    assert scaled.frame.image_bgr is not processed.frame.image_bgr


def test_a_flat_frame_keeps_a_row() -> None:
    flat = result()
    flat = replace(flat, frame=flat.frame.with_image(np.zeros((1, 400, 3), np.uint8)))
    assert scaled_to_width(flat, 20).frame.size_wh == (20, 1)


@pytest.mark.parametrize("side", [97, 131, 200, 333, 1000])
def test_a_fine_pattern_is_averaged(side: int) -> None:
    """Without means over pixels, lines of one pixel come and go as the picture moves."""
    processed = result(side=side)
    processed.frame.image_bgr[:, ::2] = 0
    processed.frame.image_bgr[:, 1::2] = 200
    small = scaled_to_width(processed, side // 2).frame.image_bgr
    assert small.shape == (side // 2, side // 2, 3)
    assert abs(float(small.mean()) - 100) < 3


def test_boxes() -> None:
    found = Detections(
        np.array([[10, 20, 90, 100]], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int32), ("a",)
    )
    scaled = of(found, 50)
    assert isinstance(scaled, Detections)
    assert scaled.boxes.tolist() == [[5, 10, 45, 50]]
    assert scaled.boxes.dtype == np.float32
    assert scaled.classes == ("a",)
    nothing = of(Detections.empty(), 50)
    assert isinstance(nothing, Detections)
    assert len(nothing) == 0


def test_masks_of_instances() -> None:
    masks = (
        Mask(20, 40, np.ones((40, 20), np.bool_)),
        Mask(99, 99, np.ones((1, 1), np.bool_)),
        Mask(3, 3, np.zeros((0, 0), np.bool_)),
    )
    found = Instances(np.zeros((3, 4), np.float32), np.ones(3, np.float32), np.zeros(3, np.int32), (), masks)
    scaled = of(found, 25)
    assert isinstance(scaled, Instances)
    assert [(mask.left, mask.top, mask.pixels.shape) for mask in scaled.masks] == [
        (5, 10, (10, 5)),
        (25, 25, (1, 1)),
        (1, 1, (0, 0)),
    ]
    assert scaled.masks[0].pixels.all()


def test_masks_of_classes() -> None:
    scaled = of(ROAD, 10)
    assert isinstance(scaled, Segmentation)
    assert scaled.mask.shape == (10, 10)
    assert scaled.shares() == ROAD.shares()


def test_classes() -> None:
    found = Classification(np.array([1.0], np.float32))
    assert of(found, 10) is found
