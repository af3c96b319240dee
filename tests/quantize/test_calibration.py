"""Ranges from frames: correct values, from frames as the device sees them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.contract.spec import BatchRange, FrameInput
from edgevision.errors import SourceError, UsageError
from edgevision.quantize.calibration.calibrate import (
    CalibrationFrames,
    calibrate,
    magnitude_histogram,
)
from edgevision.quantize.calibration.ranges import Ranges
from edgevision.quantize.calibration.thresholds import BINS, threshold_by_entropy, threshold_by_percentile
from tests.quantize.pixel_networks import SIDE, network

FRAMES = FrameInput((SIDE, SIDE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for index in range(5):
        picture = rng.integers(0, 256, (20 + index, 30, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture)
    return tmp_path


def test_frames_are_fitted_and_batches_filled(folder: Path) -> None:
    frames = CalibrationFrames(folder, FrameInput((SIDE, SIDE), batch=BatchRange(2, 2, 2)))
    batches = list(frames)
    assert len(frames) == 5
    assert [batch.shape for batch in batches] == [(2, SIDE, SIDE, 3)] * 3
    np.testing.assert_array_equal(batches[2][0], batches[2][1])
    assert (batches[0][0][0] == 114).all()  # the letterbox's border
    np.testing.assert_array_equal(next(iter(frames)), batches[0])  # read again in a second pass


def test_a_part_of_the_folder_is_spread_over_it(folder: Path) -> None:
    frames = CalibrationFrames(folder, FRAMES, limit=2)
    assert [path.name for path in frames.files] == ["0.png", "2.png"]


def test_camera_frames_are_covered(folder: Path) -> None:
    frames = CalibrationFrames(folder, FrameInput((24, 12), "exact"))
    assert {image.shape for image in frames.for_timing(2)} == {(12, 24, 3)}
    (first, *_) = frames
    assert first.shape == (1, 12, 24, 3)


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no image"):
        CalibrationFrames(tmp_path, FRAMES)
    with pytest.raises(UsageError, match="is not a folder"):
        CalibrationFrames(tmp_path / "none", FRAMES)


def test_the_largest_magnitude_is_that_of_the_device_s_pixels(folder: Path) -> None:
    frames = CalibrationFrames(folder, FRAMES)
    ranges = calibrate(network(), ["image", "first"], frames, "max")
    assert ranges.thresholds["image"] == max(int(batch.max()) for batch in frames)
    assert ranges.images == 5
    assert ranges.scale("image") == ranges.thresholds["image"] / 127


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_other_methods_stay_within_the_largest(folder: Path, method: str) -> None:
    frames = CalibrationFrames(folder, FRAMES)
    largest = calibrate(network(), ["image", "first"], frames, "max").thresholds
    ranges = calibrate(network(), ["image", "first"], frames, method)  # type: ignore[arg-type]  # parametrized
    for tensor, threshold in ranges.thresholds.items():
        assert 0 < threshold <= largest[tensor] * (1 + 1e-6)


def test_a_value_that_is_not_finite_is_named(folder: Path) -> None:
    broken = network(weights=np.full((4, 3, 3, 3), np.inf, np.float32))
    with pytest.raises(SourceError, match="first is not finite on .*0.png"):
        calibrate(broken, ["image", "first"], CalibrationFrames(folder, FRAMES), "max")


def test_a_histogram_counts_every_magnitude() -> None:
    values = np.array([[-4.0, -1.0, 0.0, 0.5, 4.0]], np.float32)
    histogram = magnitude_histogram(values, 4.0)
    assert histogram.sum() == 5
    assert histogram[-1] == 2
    assert histogram[0] == 1
    assert magnitude_histogram(np.zeros((1, 3), np.float32), 0.0).sum() == 0


def test_percentile_cuts_the_tail() -> None:
    histogram = np.zeros(BINS)
    histogram[:1024] = 1000
    histogram[-1] = 1
    assert threshold_by_percentile(histogram, 8.0) == pytest.approx(4.0, rel=0.01)
    assert threshold_by_percentile(np.zeros(BINS), 0.0) == 0.0


def test_entropy_cuts_a_far_outlier_and_keeps_a_full_range() -> None:
    flat = np.full(BINS, 100.0)
    assert threshold_by_entropy(flat, 8.0) == pytest.approx(8.0)
    bell = 1e6 * np.exp(-0.5 * (np.arange(BINS) / 150) ** 2)
    bell[-1] = 1
    assert threshold_by_entropy(bell, 8.0) < 4.0
    assert threshold_by_entropy(np.zeros(BINS), 0.0) == 0.0


def test_ranges_do_not_change() -> None:
    ranges = Ranges("max", 1, {"a": 0.0})
    assert ranges.scale("a") == 1.0
    with pytest.raises(TypeError):
        ranges.thresholds["a"] = 2.0  # type: ignore[index]  # what is tested
