"""Outlines as masks, which follow their pixels through every augmentation."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_codec

from edgevision.datasets.boxes import BoxLabels
from edgevision.train.data.box_augmentation import BoxAugmentation, Sample, draw_sample
from edgevision.train.data.outlines import mask_from_polygons
from edgevision.train.data.pictures import Picture

PLAN = BoxAugmentation(
    size=128, long_side=140, gain=(0.5, 1.6), mosaic=0.5, hsv=(0, 0, 0), grey=0.0, masks=True
)


def polygon(*points: tuple[float, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(points, np.float32)


def box(*values: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(values, np.float32)


def test_cells_hold_the_share_that_lies_inside() -> None:
    square = polygon((4, 4), (14, 4), (14, 12), (4, 12))
    mask = mask_from_polygons([square], box(4, 4, 14, 12), (24, 16))
    assert mask.shape == (4, 6)
    assert mask[1:3, 1:3].min() > 250
    assert mask[1:3, 3] == pytest.approx([128, 128], abs=17)
    mask[1:3, 1:4] = 0
    assert not mask.any()


def test_areas_are_those_of_coco() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radius = rng.uniform(8, 40, 9)
        points = (np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) + 60).astype(np.float32)
        bounds = box(*points.min(0), *points.max(0))
        mask = mask_from_polygons([points], bounds, (128, 120))
        polygons: Any = [[float(v) for v in points.ravel()]]  # the stubs know of whole numbers alone
        coded = mask_codec.frPyObjects(polygons, 120, 128)
        area = float(mask_codec.area(mask_codec.merge(coded)))
        assert mask.sum() / 255 * 16 == pytest.approx(area, rel=0.08)


def test_parts_are_united_and_nothing_is_inside_beyond_what_is_seen() -> None:
    left, right = polygon((0, 0), (12, 0), (12, 8), (0, 8)), polygon((8, 0), (24, 0), (24, 8), (8, 8))
    assert mask_from_polygons([left, right], box(0, 0, 24, 8), (24, 8)).min() > 250
    assert mask_from_polygons([left, right], box(0, 0, 8, 8), (24, 8))[:, 2:].max() == 0
    assert not mask_from_polygons([left], box(30, 0, 40, 8), (24, 8)).any()


def painted(index: int) -> tuple[Picture, BoxLabels]:
    """Black, with one white triangle that its outline describes exactly."""
    rng = np.random.default_rng(index)
    picture = np.zeros((90 + 10 * index, 120, 3), np.uint8)
    height, width = picture.shape[:2]
    x, y = rng.integers(5, 40, 2)
    points = np.array([[x, y], [x + 50, y + 10], [x + 15, y + 40]], np.int32)
    cv2.fillPoly(picture, [points], (255, 255, 255))
    outline = ((points + 0.5) / [width, height]).astype(np.float32)
    bounds = np.concatenate([outline.min(0), outline.max(0)])[None]
    return picture, BoxLabels(bounds, np.array([index], np.int64), ((outline,),))


def drawn(seed: int) -> Sample:
    return draw_sample(seed % 4, painted, 4, PLAN, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(16))
def test_masks_cover_what_is_white(seed: int) -> None:
    sample = drawn(seed)
    assert sample.masks.shape == (len(sample.labels), 32, 32)
    inside = (sample.image[..., 0] > 128).astype(np.float64)
    white = cv2.resize(inside, (32, 32), interpolation=cv2.INTER_AREA)
    covered = sample.masks.max(0, initial=0) / 255
    # Objects of which too little is seen have no box and no mask: they may be white uncovered.
    for mask in sample.masks / 255:
        assert np.abs(mask - white)[mask > 0.05].mean() < 0.13
    assert (white - covered).mean() < 0.03


def test_without_masks_none_are_drawn() -> None:
    plain = BoxAugmentation(size=128, long_side=140)
    sample = draw_sample(0, painted, 4, plain, np.random.default_rng(0))
    assert sample.masks.shape == (0, 32, 32)


def test_without_augmentation_an_image_is_unchanged() -> None:
    still = BoxAugmentation(size=120, long_side=120, masks=True).weakened(0)
    assert (still.gain, still.mosaic, still.flip, still.stretch, still.grey) == ((1, 1), 0, 0, 0, 0)
    sample = draw_sample(3, painted, 4, still, np.random.default_rng(0))
    assert np.array_equal(sample.image, painted(3)[0])
    half = BoxAugmentation(size=120, long_side=120, gain=(0.25, 4.0)).weakened(0.5)
    assert half.gain == (0.5, 2.0)
    assert half.hsv == (0.0075, 0.35, 0.2)
