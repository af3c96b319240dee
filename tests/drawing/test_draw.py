"""Results drawn into frames of any size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgevision.contract.image import Frame
from edgevision.contract.results import Classification, Detections
from edgevision.drawing.annotate import (
    Style,
    class_colour,
    draw_classification,
    draw_detections,
    draw_label,
    draw_result,
    label_wh,
    text_colour,
)


def grey(width: int, height: int) -> Frame:
    return np.full((height, width, 3), 100, np.uint8)


def detections(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.linspace(0.9, 0.5, count).astype(np.float32),
        np.arange(count, dtype=np.int32),
        ("person", "car", "dog"),
    )


def test_a_box_is_drawn_on_its_edges_and_nowhere_else() -> None:
    frame = grey(640, 480)
    draw_detections(frame, detections((100, 200, 300, 400)))
    colour = list(class_colour(0))
    assert frame[300, 100].tolist() == colour
    assert frame[300, 299].tolist() == colour
    assert frame[399, 150].tolist() == colour
    assert frame[300, 200].tolist() == [100, 100, 100]
    assert frame[300, 90].tolist() == [100, 100, 100]
    assert frame[410:].tolist() == grey(640, 70).tolist()


def test_nothing_found_leaves_the_frame_as_it_was() -> None:
    frame = grey(64, 48)
    draw_result(frame, Detections.empty())
    assert (frame == 100).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (23, 400), (24, 24), (64, 48), (640, 480), (3840, 2160)])
def test_no_frame_is_too_small_or_too_large(size: tuple[int, int]) -> None:
    width, height = size
    frame = grey(width, height)
    draw_detections(
        frame,
        detections((0, 0, width, height), (-5, -5, width + 5, height + 5), (width, height, width, height)),
    )
    assert frame.shape == (height, width, 3)
    assert (frame != 100).any()
    draw_classification(grey(width, height), Classification(np.array([0.7, 0.3], np.float32), ("cat", "dog")))


@pytest.mark.parametrize("anchor", [(-50, -50), (0, 0), (630, 5), (700, 500), (100, 100)])
def test_a_label_stays_inside_the_frame(anchor: tuple[int, int]) -> None:
    frame = grey(640, 480)
    box = draw_label(frame, "person 0.87", anchor, (0, 200, 255), Style.of((640, 480)))
    assert box is not None
    left, top, right, bottom = box
    assert 0 <= left < right <= 640
    assert 0 <= top < bottom <= 480
    assert (right - left, bottom - top) == label_wh("person 0.87", Style.of((640, 480)))
    outside = frame.copy()
    outside[top:bottom, left:right] = 100
    assert (outside == 100).all()
    assert frame[top, left].tolist() == [0, 200, 255]


def test_a_label_wider_than_the_frame_is_written_smaller() -> None:
    frame = grey(100, 100)
    box = draw_label(frame, "a very long class name indeed 0.87", (0, 50), (0, 0, 255), Style.of((100, 100)))
    assert box is not None
    assert 80 <= box[2] - box[0] <= 100


def test_tiny_frames_get_no_text() -> None:
    assert draw_label(grey(20, 20), "a 0.50", (0, 10), (0, 0, 255), Style.of((20, 20))) is None


def test_text_and_lines_grow_with_the_frame() -> None:
    small, large = Style.of((640, 480)), Style.of((3840, 2160))
    assert large.line_px >= 3 * small.line_px
    height = label_wh("person 0.87", large)[1]
    assert 40 <= height <= 120
    assert 12 <= label_wh("person 0.87", small)[1] <= 30


def test_colours_are_fixed_and_distinct_and_their_text_is_readable() -> None:
    colours = [class_colour(label) for label in range(80)]
    assert len(set(colours)) == 80
    assert colours == [class_colour(label) for label in range(80)]
    for first, second in itertools.pairwise(colours):
        assert sum(abs(a - b) for a, b in zip(first, second, strict=True)) > 100
    for blue, green, red in colours:
        luma = 0.114 * blue + 0.587 * green + 0.299 * red
        assert abs(luma - 0.3333 * sum(text_colour((blue, green, red)))) > 100


def test_colours_of_identities_are_not_kept_for_ever() -> None:
    for identity in range(3000):
        class_colour(identity)
    assert class_colour.cache_info().currsize <= 256


def test_the_best_classes_are_written_one_under_another() -> None:
    frame = grey(640, 480)
    scores = np.array([0.1, 0.6, 0.3], np.float32)
    draw_result(frame, Classification(scores, ("cat", "dog", "hen")), top=2)
    height = label_wh("dog 0.60", Style.of((640, 480)))[1]
    assert frame[1, 0].tolist() == list(class_colour(1))
    assert frame[height + 1, 0].tolist() == list(class_colour(2))
    assert (frame[3 * height :] == 100).all()
