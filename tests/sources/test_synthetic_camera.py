"""The synthetic camera's wall of photographs, and the visible people."""

from __future__ import annotations

import gc
import weakref

import cv2
import numpy as np
import pytest

from edgevision.contract.image import Frame
from edgevision.sources.synthetic_camera import HANGINGS, PEOPLE, PHOTOGRAPHS, WALL_WH, SyntheticCamera


@pytest.fixture(scope="module")
def camera() -> SyntheticCamera:
    return SyntheticCamera()


@pytest.mark.parametrize("size_wh", [(640, 480), (320, 240), (416, 416), (240, 426)])
def test_frames_have_the_size_and_never_leave_the_wall(size_wh: tuple[int, int]) -> None:
    camera = SyntheticCamera(size_wh, cycle=12)
    for index, frame in enumerate(camera.frames(camera.cycle)):
        assert frame.shape == (size_wh[1], size_wh[0], 3)
        assert frame.dtype == np.uint8
        scale, offset = camera._view(index)
        assert (offset <= 1e-9).all()
        assert (offset + np.array(WALL_WH) * scale >= np.array(size_wh) - 1e-9).all()


def test_a_frame_is_deterministic(camera: SyntheticCamera) -> None:
    assert np.array_equal(camera.frame(7), camera.frame(7 + camera.cycle))
    assert not np.array_equal(camera.frame(7), camera.frame(8))


def test_the_wall_is_drawn_once_and_freed_with_its_last_camera() -> None:
    one, other, finer = SyntheticCamera((64, 48)), SyntheticCamera((64, 48)), SyntheticCamera((128, 96))
    assert one._wall is other._wall
    assert one._wall.shape != finer._wall.shape
    wall = weakref.ref(one._wall)
    del one
    assert wall() is other._wall
    del other
    gc.collect()
    assert wall() is None


def test_every_person_is_where_the_photograph_s_box_says(camera: SyntheticCamera) -> None:
    """What the frame shows in a person's box is what the photograph shows in hers."""
    persons: list[Frame] = []
    for name, (x1, y1, x2, y2) in PEOPLE.items():
        crop = np.asarray(cv2.imread(str(PHOTOGRAPHS / f"{name}.jpg")), np.uint8)[y1:y2, x1:x2]
        persons += [crop, np.ascontiguousarray(crop[:, ::-1])]
    compared = 0
    for index in range(0, camera.cycle, 10):
        frame, seen = camera.frame(index), camera.people(index)
        for x1, y1, x2, y2 in np.rint(seen.boxes[seen.shares == 1]).astype(int):
            scaled = [cv2.resize(crop, (x2 - x1, y2 - y1), interpolation=cv2.INTER_AREA) for crop in persons]
            part = frame[y1:y2, x1:x2].ravel()
            assert max(np.corrcoef(part, crop.ravel())[0, 1] for crop in scaled) > 0.97
            compared += 1
    assert compared > 20


def test_people_are_clipped_to_the_frame_with_their_shares(camera: SyntheticCamera) -> None:
    shares = []
    for index in range(0, camera.cycle, 5):
        seen = camera.people(index)
        assert seen.boxes.shape == (len(seen.shares), 4)
        assert (seen.boxes[:, :2] >= 0).all()
        assert (seen.boxes[:, 2:] <= np.array(camera.size_wh)).all()
        shares.extend(seen.shares.tolist())
    assert 0 < min(shares) < 0.3
    assert max(shares) == pytest.approx(1)


def test_the_camera_sees_every_hanging_within_a_cycle(camera: SyntheticCamera) -> None:
    centres = np.array([(h.left + 0.4 * h.height, h.top + 0.5 * h.height) for h in HANGINGS])
    seen = np.zeros(len(HANGINGS), np.bool_)
    for index in range(camera.cycle):
        scale, offset = camera._view(index)
        place = centres * scale + offset
        seen |= ((place > 0) & (place < np.array(camera.size_wh))).all(axis=1)
    assert seen.all()


def test_nothing_hangs_over_another_or_over_the_edge() -> None:
    covered = np.zeros((WALL_WH[1], WALL_WH[0]), np.int64)
    for hanging in HANGINGS:
        height, width = hanging.photograph().shape[:2]
        margin = 14
        right = hanging.left + round(hanging.height * width / height) + margin
        bottom = hanging.top + hanging.height + margin
        assert min(hanging.left, hanging.top) >= margin
        assert right <= WALL_WH[0]
        assert bottom <= WALL_WH[1]
        covered[hanging.top - margin : bottom, hanging.left - margin : right] += 1
    assert covered.max() == 1
