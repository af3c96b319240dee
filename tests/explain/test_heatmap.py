"""Drawing of explanations."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edgevision.contract.image import Frame
from edgevision.errors import SinkError, UsageError
from edgevision.explain.heatmap import draw_explanation, write_picture
from edgevision.explain.maps import ExplainOptions, Explanation, MapCheck
from edgevision.explain.target import ExplainTarget

CHECK = MapCheck(0.9, 0.1, 0.8, 0.9, 1.0)


def explanation(size_wh: tuple[int, int], hot: tuple[int, int, int, int] | None) -> Explanation:
    heat = np.zeros((size_wh[1], size_wh[0]), np.float32)
    box = None
    if hot is not None:
        left, top, right, bottom = hot
        heat[top:bottom, left:right] = 0.5
        box = np.array(hot, np.float32)
    target = ExplainTarget(0, "person", 0.9, box)
    return Explanation(heat, target, box, 1.0, 0.1, CHECK, ExplainOptions())


def saturation(picture: Frame) -> npt.NDArray[np.int64]:
    return np.asarray(np.ptp(picture.astype(np.int64), axis=2))


def test_only_heat_is_coloured_and_the_frame_is_not_changed() -> None:
    frame = np.full((480, 640, 3), (200, 100, 30), np.uint8)
    before = frame.copy()
    picture = draw_explanation(frame, explanation((640, 480), (200, 200, 300, 300)))
    assert np.array_equal(frame, before)
    assert picture.shape[1] == 640
    assert 490 < picture.shape[0] < 560, "a strip lies below"
    colour = saturation(picture[:480])
    assert (colour[210:290, 210:290] > 60).all()
    colour[150:310, 190:420] = 0
    assert not colour.any()
    assert (picture[200:300, 200] == 255).all(), "the box's left edge is white"
    strip = picture[480:]
    assert saturation(strip).max() > 100
    assert (strip.max(axis=2) > 200).any()


def test_without_heat_or_box_the_image_is_grey() -> None:
    frame = np.full((480, 640, 3), (200, 100, 30), np.uint8)
    picture = draw_explanation(frame, explanation((640, 480), None))
    assert not saturation(picture[:480]).any()


def test_small_frames_are_enlarged_with_their_heat_and_box() -> None:
    frame = np.full((32, 32, 3), 90, np.uint8)
    picture = draw_explanation(frame, explanation((32, 32), (16, 16, 32, 32)))
    assert picture.shape[1] == 640
    colour = saturation(picture[:640])
    assert (colour[350:600, 350:600] > 60).all()
    assert not colour[:300, :300].any()
    assert picture[500, 320].tolist() == [255, 255, 255]


@pytest.mark.parametrize("size_wh", [(1, 1), (3, 900), (900, 3), (24, 24), (2000, 1100)])
def test_frames_of_any_shape_can_be_drawn(size_wh: tuple[int, int]) -> None:
    frame = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    picture = draw_explanation(frame, explanation(size_wh, (0, 0, *size_wh)))
    assert picture.dtype == np.uint8
    assert picture.shape[1] % size_wh[0] == 0


def test_images_are_written_atomically(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    path = tmp_path / "new" / "heat.png"
    write_picture(path, picture)
    assert np.array_equal(np.asarray(cv2.imread(str(path))), picture)
    assert [entry.name for entry in path.parent.iterdir()] == ["heat.png"]


def test_invalid_names_and_paths_are_rejected(tmp_path: Path) -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(UsageError, match="must end in .png"):
        write_picture(tmp_path / "heat.mp4", picture)
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot write"):
        write_picture(tmp_path / "file" / "heat.png", picture)
