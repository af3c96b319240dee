"""Oriented boxes: overlaps against plain references."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from edgevision.contract.boxes import iou_matrix
from edgevision.contract.nms import greedy_nms
from edgevision.contract.rotated import (
    box_areas,
    corners_from_oriented,
    hulls_from_oriented,
    overlap_matrix,
    prob_iou_matrix,
    rotated_iou_matrix,
)

Array = npt.NDArray[np.float64]
Polygon = list[tuple[float, float]]
CASES = 2000


def random_boxes(rng: np.random.Generator, count: int) -> Array:
    """Boxes of all shapes in a small area; some upright, some equal up to half a turn."""
    centre, sides = rng.uniform(0, 60, (count, 2)), np.exp(rng.uniform(-1, 5, (count, 2)))
    boxes = np.concatenate([centre, sides, rng.uniform(-np.pi / 4, 3 * np.pi / 4, (count, 1))], 1)
    if rng.random() < 0.3:
        boxes[:, 4] = np.round(boxes[:, 4] / (np.pi / 4)) * np.pi / 4
        boxes[:, :4] = np.round(boxes[:, :4]) + 1
    if rng.random() < 0.3:
        boxes[-1] = boxes[0] + (0, 0, 0, 0, np.pi)
    return boxes


def cut(polygon: Polygon, start: tuple[float, float], end: tuple[float, float]) -> Polygon:
    """The part of a polygon on the right of the way from start to end: one step of Sutherland-Hodgman clipping."""

    def side(point: tuple[float, float]) -> float:
        return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])

    kept: Polygon = []
    for one, other in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        here, there = side(one), side(other)
        if here >= 0:
            kept.append(one)
        if here * there < 0:
            share = here / (here - there)
            kept.append((one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1])))
    return kept


def plain_iou(left: Array, right: Array) -> float:
    corners = [[(float(x), float(y)) for x, y in corners_from_oriented(b[None])[0]] for b in (left, right)]
    shared = corners[0]
    for start, end in zip(corners[1], corners[1][1:] + corners[1][:1], strict=True):
        shared = cut(shared, start, end)
    pairs = zip(shared, shared[1:] + shared[:1], strict=True)
    area = abs(sum(a[0] * b[1] - a[1] * b[0] for a, b in pairs)) / 2
    return float(area / (left[2] * left[3] + right[2] * right[3] - area))


def plain_prob_iou(left: Array, right: Array) -> float:
    """The definition, with matrices: arXiv:2106.06072, equations 7 to 10."""
    covariances = []
    for _, _, width, height, angle in (left, right):
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        covariances.append(turn @ np.diag([width**2 / 12, height**2 / 12]) @ turn.T)
    mean = (covariances[0] + covariances[1]) / 2
    apart = left[:2] - right[:2]
    roots = math.sqrt(np.linalg.det(covariances[0]) * np.linalg.det(covariances[1]))
    distance = apart @ np.linalg.solve(mean, apart) / 8 + math.log(np.linalg.det(mean) / roots) / 2
    return 1 - math.sqrt(max(1 - math.exp(-distance), 0.0))


def test_iou_equals_clipped_polygons_in_random_cases() -> None:
    rng = np.random.default_rng(0)
    overlapping = 0
    for _ in range(CASES):
        boxes = random_boxes(rng, 6)
        found = rotated_iou_matrix(boxes[:3], boxes[3:])
        expected = np.array([[plain_iou(one, other) for other in boxes[3:]] for one in boxes[:3]])
        assert np.abs(found - expected).max() < 1e-9
        overlapping += int((expected > 0.1).sum())
    assert overlapping > CASES / 2


def test_iou_of_upright_boxes_is_the_usual_one() -> None:
    rng = np.random.default_rng(1)
    boxes = random_boxes(rng, 60)
    boxes[:, 4] = 0
    assert (
        np.abs(rotated_iou_matrix(boxes, boxes) - iou_matrix(*[hulls_from_oriented(boxes)] * 2)).max() < 1e-9
    )


def test_prob_iou_follows_its_definition_in_random_cases() -> None:
    rng = np.random.default_rng(2)
    for _ in range(CASES):
        boxes = random_boxes(rng, 6)
        boxes[:, 2:4] = boxes[:, 2:4].clip(1, 40)  # the matrices of the reference lose digits for thin boxes
        found = prob_iou_matrix(boxes[:3], boxes[3:])
        expected = [[plain_prob_iou(one, other) for other in boxes[3:]] for one in boxes[:3]]
        # Near equality the square root turns a rounding of 1e-14 into 1e-7.
        assert np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize(
    ("left", "right", "iou"),
    [
        ((0, 0, 10, 10, 0), (0, 0, 10, 10, math.pi / 2), 1.0),
        ((0, 0, 20, 10, 0), (0, 0, 10, 20, math.pi / 2), 1.0),
        # Two squares of side 2 turned by 45 degrees: an octagon of area 8 (sqrt(2) - 1).
        ((0, 0, 2, 2, 0), (0, 0, 2, 2, math.pi / 4), 8 * (2**0.5 - 1) / (8 - 8 * (2**0.5 - 1))),
        ((0, 0, 10, 10, 0.3), (100, 0, 10, 10, 0.3), 0.0),
        ((0, 0, 10, 10, 0), (10, 0, 10, 10, 0), 0.0),
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), 0.0),
        # A thin box across a wide one.
        ((0, 0, 100, 2, 0), (0, 0, 2, 100, 0), 4 / 396),
    ],
)
def test_known_pairs(left: tuple[float, ...], right: tuple[float, ...], iou: float) -> None:
    found = rotated_iou_matrix(np.array([left], float), np.array([right], float))
    assert found[0, 0] == pytest.approx(iou, abs=1e-12)


def test_no_boxes_have_no_overlaps() -> None:
    none, some = np.empty((0, 5)), random_boxes(np.random.default_rng(3), 4)
    for function in (rotated_iou_matrix, prob_iou_matrix, overlap_matrix):
        assert function(none, some).shape == (0, 4)
        assert function(some, none).shape == (4, 0)


def test_a_box_without_area_has_a_finite_overlap() -> None:
    boxes = np.array([[5, 5, 0, 0, 0], [5, 5, 10, 0, 1], [5, 5, 10, 10, 2]], float)
    found = prob_iou_matrix(boxes, boxes)
    assert np.isfinite(found).all()
    assert np.diag(found) == pytest.approx(1)


def test_corners_turn_clockwise_in_the_image() -> None:
    (corners,) = corners_from_oriented(np.array([[10, 10, 8, 2, math.pi / 2]]))
    assert corners.round(9).tolist() == [[11, 6], [11, 14], [9, 14], [9, 6]]
    assert hulls_from_oriented(np.array([[10, 10, 8, 2, math.pi / 2]])).round(9).tolist() == [[9, 6, 11, 14]]


def test_greedy_nms_compares_oriented_boxes_by_prob_iou() -> None:
    boxes = np.array([[0, 0, 40, 4, 0.7], [0, 0, 40, 4, -0.7], [1, 0, 40, 4, 0.7]], np.float32)
    scores, labels = np.array([0.9, 0.8, 0.7], np.float32), np.zeros(3, np.int32)
    # The hulls are equal: upright boxes would leave one.
    assert greedy_nms(boxes, scores, labels, 0.45).tolist() == [0, 1]
    assert greedy_nms(hulls_from_oriented(boxes), scores, labels, 0.45).tolist() == [0]


@pytest.mark.parametrize("sides", [(-20.0, 10.0), (20.0, -10.0), (-20.0, -10.0)])
def test_a_box_with_a_negative_side_is_empty(sides: tuple[float, float]) -> None:
    boxes = np.array([[30, 30, *sides, 0.4], [30, 30, 20, 10, 0.4], [28, 31, 60, 50, 1]])
    assert box_areas(boxes).tolist() == [0, 200, 3000]
    assert rotated_iou_matrix(boxes[:1], boxes).max() < 1e-12
    assert rotated_iou_matrix(boxes, boxes[:1]).max() < 1e-12
