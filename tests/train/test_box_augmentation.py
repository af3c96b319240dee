"""Boxes follow their pixels through every augmentation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevision.datasets.boxes import BoxLabels
from edgevision.train.data.box_augmentation import BoxAugmentation, Sample, draw_sample
from edgevision.train.data.pictures import Picture

PLAN = BoxAugmentation(size=128, long_side=140, gain=(0.5, 1.6), mosaic=0.5, hsv=(0, 0, 0), grey=0.0)


def painted(index: int) -> tuple[Picture, BoxLabels]:
    """Black, with one white rectangle that its box describes exactly."""
    rng = np.random.default_rng(index)
    picture = np.zeros((90 + 10 * index, 120, 3), np.uint8)
    height, width = picture.shape[:2]
    x0, y0 = rng.integers(5, 50, 2)
    x1, y1 = x0 + rng.integers(20, 60), y0 + rng.integers(20, 35)
    picture[y0:y1, x0:x1] = 255
    box = np.array([[x0 / width, y0 / height, x1 / width, y1 / height]], np.float32)
    return picture, BoxLabels(box, np.array([index], np.int64))


def drawn(seed: int, plan: BoxAugmentation = PLAN) -> Sample:
    return draw_sample(seed % 4, painted, 4, plan, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(24))
def test_boxes_frame_what_is_white(seed: int) -> None:
    sample = drawn(seed)
    white = sample.image[..., 0] > 128
    for x0, y0, x1, y1 in sample.xyxy:
        inside = white[round(y0) : round(y1), round(x0) : round(x1)]
        assert inside.mean() > 0.85
    # What is white outside of all boxes is a cut-off remainder, or the blur of an edge.
    for x0, y0, x1, y1 in sample.xyxy:
        white[max(0, round(y0) - 1) : round(y1) + 1, max(0, round(x0) - 1) : round(x1) + 1] = False
    assert white.mean() < 0.03


def test_both_kinds_of_samples_occur_and_have_the_size() -> None:
    samples = [drawn(seed) for seed in range(24)]
    assert {s.image.shape for s in samples} == {(128, 128, 3)}
    assert max(len(s.labels) for s in samples) > 1
    assert all((s.xyxy >= 0).all() and (s.xyxy <= 128).all() for s in samples)


def test_a_sample_is_a_function_of_its_generator() -> None:
    first, second, other = drawn(3), drawn(3), drawn(4)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.xyxy, second.xyxy)
    assert not np.array_equal(first.image, other.image)


def test_flip_mirrors_image_and_boxes() -> None:
    plan = replace(PLAN, mosaic=0.0)
    plain, mirrored = drawn(1, replace(plan, flip=0.0)), drawn(1, replace(plan, flip=1.0))
    assert np.array_equal(plain.image[:, ::-1], mirrored.image)
    assert mirrored.xyxy[:, [2, 1, 0, 3]] == pytest.approx(plain.xyxy * [-1, 1, -1, 1] + [128, 0, 128, 0])


def test_hsv_changes_colours_and_no_box() -> None:
    plain, coloured = drawn(2), drawn(2, replace(PLAN, hsv=(0.02, 0.7, 0.4)))
    assert np.array_equal(plain.xyxy, coloured.xyxy)
    assert not np.array_equal(plain.image, coloured.image)


def test_an_image_without_boxes() -> None:
    def empty(index: int) -> tuple[Picture, BoxLabels]:
        return painted(index)[0], BoxLabels(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))

    sample = draw_sample(0, empty, 4, PLAN, np.random.default_rng(0))
    assert sample.xyxy.shape == (0, 4)
    assert sample.labels.shape == (0,)
