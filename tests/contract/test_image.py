"""Resizing of frames, and the inverse geometry."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edgevision.contract.image import LetterboxGeometry, fit_frame, letterbox
from edgevision.contract.spec import FrameInput
from edgevision.errors import UsageError


def bilinear(image: npt.NDArray[np.uint8], size_wh: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Bilinear resampling with half-pixel centres and edge clamping, written out in float64."""
    out = image.astype(np.float64)
    for axis, size in ((0, size_wh[1]), (1, size_wh[0])):
        length = image.shape[axis]
        at = (np.arange(size) + 0.5) * length / size - 0.5
        low = np.floor(at).astype(int)
        weight = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        below, above = low.clip(0, length - 1), (low + 1).clip(0, length - 1)
        out = out.take(below, axis) * (1 - weight) + out.take(above, axis) * weight
    return out


def reference_letterbox(image: npt.NDArray[np.uint8], size_wh: tuple[int, int]) -> npt.NDArray[np.float64]:
    height, width = image.shape[:2]
    ratio = min(size_wh[0] / width, size_wh[1] / height)
    new_wh = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    canvas = np.full((size_wh[1], size_wh[0], 3), 114.0)
    left, top = (size_wh[0] - new_wh[0]) // 2, (size_wh[1] - new_wh[1]) // 2
    canvas[top : top + new_wh[1], left : left + new_wh[0]] = bilinear(image, new_wh)
    return canvas


def random_sizes(count: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(7)
    sizes = [(1, 1), (1, 900), (900, 1), (640, 640), (641, 639), (1920, 1080), (2, 3)]
    return sizes + [(int(w), int(h)) for w, h in rng.integers(2, 1200, (count - len(sizes), 2))]


def test_letterbox_equals_the_reference_to_one_level_for_200_sizes() -> None:
    rng = np.random.default_rng(0)
    target = (320, 256)
    worst = 0.0
    for width, height in random_sizes(200):
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        result, _ = letterbox(image, target)
        worst = max(worst, float(np.abs(result - reference_letterbox(image, target)).max()))
    assert worst <= 1.0


def test_boxes_return_to_frame_pixels_for_200_sizes() -> None:
    rng = np.random.default_rng(1)
    for width, height in random_sizes(200):
        corners = np.sort(rng.random((20, 2, 2)), axis=1) * (width, height)
        boxes = corners.reshape(20, 4)
        placement = LetterboxGeometry.of((width, height), (640, 640)).placement
        returned = placement.frame_from_input(placement.input_from_frame(boxes))
        assert np.abs(returned - boxes).max() < 0.01


def test_a_mark_in_the_frame_is_at_the_computed_placement() -> None:
    """The geometry describes what the pixels do: a white block's edges land where its box does, to a pixel."""
    frame = np.zeros((300, 500, 3), np.uint8)
    frame[100:200, 50:250] = 255
    canvas, placement = letterbox(frame, (640, 640), pad_value=0)
    box = placement.input_from_frame(np.array([[50.0, 100.0, 250.0, 200.0]]))[0]
    rows, columns = np.nonzero(canvas[..., 0] > 127)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(np.array(found) - box).max() <= 1.0


def test_letterbox_writes_into_a_row_of_a_batch() -> None:
    frame = np.random.default_rng(2).integers(0, 256, (90, 200, 3), np.uint8)
    batch = np.full((2, 128, 128, 3), 9, np.uint8)
    result, _ = letterbox(frame, (128, 128), out=batch[1])
    assert result.base is batch
    assert np.array_equal(batch[1], letterbox(frame, (128, 128))[0])
    assert (batch[0] == 9).all()


def test_boxes_are_cut_at_the_frame() -> None:
    placement = LetterboxGeometry.of((100, 50), (200, 200)).placement
    boxes = placement.frame_from_input(np.array([[-10.0, 0.0, 500.0, 500.0]]))
    assert boxes.tolist() == [[0.0, 0.0, 100.0, 50.0]]


@pytest.mark.parametrize("size_wh", [(300, 200), (64, 400), (224, 224), (1000, 30)])
def test_center_crop_takes_the_middle(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    frame = np.zeros((height, width, 3), np.uint8)
    frame[height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1] = 255
    target = FrameInput((112, 112), "center-crop", crop_fraction=0.875)
    result, placement = fit_frame(frame, target)
    assert result.shape == (112, 112, 3)
    middle = placement.frame_from_input(np.array([[56.0, 56.0, 56.0, 56.0]]))[0, :2]
    assert np.abs(middle - np.array(size_wh) / 2).max() <= 1.5 / placement.scale_xy[0] + 1


@pytest.mark.parametrize("size_wh", [(65_535, 1), (2, 65_000)])
def test_center_crop_of_a_strip_scales_only_its_middle(
    size_wh: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    width, height = size_wh
    ramp = np.linspace(0, 255, max(size_wh)).astype(np.uint8)
    frame = np.repeat(ramp, min(size_wh) * 3).reshape(max(size_wh), min(size_wh), 3)
    frame = np.ascontiguousarray(frame if height > width else frame.transpose(1, 0, 2))
    scaled: list[int] = []
    resize = cv2.resize

    def counted(pixels: npt.NDArray[np.uint8], size_wh: tuple[int, int], interpolation: int) -> object:
        scaled.append(size_wh[0] * size_wh[1])
        return resize(pixels, size_wh, interpolation=interpolation)

    monkeypatch.setattr(cv2, "resize", counted)
    result, placement = fit_frame(frame, FrameInput((112, 112), "center-crop", crop_fraction=0.875))
    assert result.shape == (112, 112, 3)
    assert scaled[0] < 200_000, "the whole strip has more than 400 million pixels"
    assert abs(int(result.mean()) - 127) <= 1
    middle = placement.frame_from_input(np.array([[56.0, 56.0, 56.0, 56.0]]))[0, :2]
    assert np.abs(middle - np.array(size_wh) / 2).max() <= 1
    assert placement.frame_wh == size_wh


def test_stretch_fills_the_input() -> None:
    frame = np.full((10, 30, 3), 77, np.uint8)
    result, placement = fit_frame(frame, FrameInput((32, 32), "stretch"))
    assert (result == 77).all()
    assert placement.scale_xy == (32 / 30, 3.2)


def test_an_exact_graph_names_the_remedy_for_other_sizes() -> None:
    with pytest.raises(UsageError, match="export it with --frame 30x10"):
        fit_frame(np.zeros((10, 30, 3), np.uint8), FrameInput((1920, 1080), "exact"))


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((10, 10, 3), np.float32),
    ],
)
def test_an_invalid_frame_is_refused(frame: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(UsageError, match=r"uint8 \[H,W,3\] BGR"):
        fit_frame(frame, FrameInput((32, 32)))
