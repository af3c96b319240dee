"""Oriented boxes in numpy: x and y of the centre, width, height, and the angle of the width in radians.

Angles turn from the x axis to the y axis, which points down: clockwise in an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.contract.boxes import Boxes, area, iou_matrix

Float64 = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

LEAST_SIDE = 0.01
"""Sides of a box in pixels are at least this long in `prob_iou_matrix`: a Gaussian without extent has no density."""
_INSIDE = 1e-9
"""Share of a box's sides by which a point may lie outside and still count as inside: rounding of equal edges."""
_PAIRS = 1 << 14
"""Pairs whose polygons are cut at the same time; more only take more memory."""


def corners_from_oriented(boxes: npt.NDArray[np.floating[Any]]) -> Float64:
    """Corners ``[N,4,2]`` of oriented boxes ``[N,5]``, in order around the box."""
    boxes = boxes.astype(np.float64)
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    along = np.stack([cos, sin], 1) * boxes[:, 2, None] / 2
    across = np.stack([-sin, cos], 1) * boxes[:, 3, None] / 2
    centre = boxes[:, :2]
    steps = (-along - across, along - across, along + across, across - along)
    return np.stack([centre + step for step in steps], 1)


def hulls_from_oriented(boxes: npt.NDArray[np.floating[Any]]) -> Float64:
    """The smallest upright boxes ``[N,4]`` xyxy that contain oriented boxes ``[N,5]``."""
    points = corners_from_oriented(boxes)
    return np.concatenate([points.min(axis=1), points.max(axis=1)], 1)


def prob_iou_matrix(left: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.floating[Any]]) -> Matrix:
    """ProbIoU ``[N,M]`` of oriented boxes ``[N,5]`` with ``[M,5]``, in 0..1.

    Llerena et al., "Gaussian Bounding Boxes and Probabilistic Intersection-over-Union for Object Detection",
    arXiv:2106.06072. A box is the Gaussian with the mean and the covariance of a uniform density over it: variances
    w^2/12 and h^2/12 along its sides. ProbIoU is 1 minus the Hellinger distance of two of them, which follows from
    their Bhattacharyya distance.
    """
    return np.asarray(1 - np.sqrt(-np.expm1(-bhattacharyya(left, right))))


def bhattacharyya(left: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.floating[Any]]) -> Matrix:
    """Bhattacharyya distances ``[N,M]`` of the Gaussians of oriented boxes ``[N,5]`` and ``[M,5]``."""
    one, other = _variances(left)[:, :, None], _variances(right)[:, None, :]
    total_xx, total_yy, total_xy = one[0] + other[0], one[1] + other[1], one[2] + other[2]
    # The determinant of the summed covariances; its two terms nearly cancel for long thin boxes, the sum below does
    # not.
    turn = left[:, 4, None].astype(np.float64) - right[None, :, 4]
    (p1, q1), (p2, q2) = (one[3], one[4]), (other[3], other[4])
    cross = (p1 * p2 + q1 * q2) * np.sin(turn) ** 2 + (p1 * q2 + q1 * p2) * np.cos(turn) ** 2
    determinant = p1 * q1 + p2 * q2 + cross
    dx = left[:, 0, None].astype(np.float64) - right[None, :, 0]
    dy = left[:, 1, None].astype(np.float64) - right[None, :, 1]
    distance = total_yy * dx**2 + total_xx * dy**2 - 2 * total_xy * dx * dy
    spread = np.log(determinant / (4 * np.sqrt(p1 * q1 * p2 * q2)))
    return np.asarray(np.maximum(distance / determinant / 4 + spread / 2, 0))


def _variances(boxes: npt.NDArray[np.floating[Any]]) -> Float64:
    """Covariance xx, yy, xy, and the variances along width and height: ``[5,N]``."""
    _, _, width, height, angle = boxes.astype(np.float64).T
    p, q = (np.maximum(side, LEAST_SIDE) ** 2 / 12 for side in (width, height))
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([p * cos**2 + q * sin**2, p * sin**2 + q * cos**2, (p - q) * cos * sin, p, q])


def overlap_matrix(left: Boxes, right: Boxes) -> Matrix:
    """The overlap that NMS compares with its threshold, ``[N,M]``: IoU of xyxy boxes, ProbIoU of oriented ones."""
    return prob_iou_matrix(left, right) if left.shape[1] == 5 else iou_matrix(left, right)


def upright(boxes: Boxes) -> Boxes:
    """Boxes ``[N,4]`` xyxy: the hulls of oriented boxes ``[N,5]``, others unchanged."""
    return hulls_from_oriented(boxes) if boxes.shape[1] == 5 else boxes


def box_areas(boxes: Boxes) -> Float64:
    """Areas ``[N]`` of xyxy or oriented boxes; 0 for a box with a negative side."""
    if boxes.shape[1] == 5:
        return np.asarray(boxes[:, 2:4].astype(np.float64).clip(min=0).prod(axis=1))
    return area(boxes)


def rotated_iou_matrix(left: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.floating[Any]]) -> Matrix:
    """Exact IoU ``[N,M]`` of oriented boxes ``[N,5]`` with ``[M,5]``: areas of polygons; 0 if both are empty.

    A box with a negative side is empty: heads that compute distances directly can give one.
    """
    left, right = _without_negative_sides(left), _without_negative_sides(right)
    rows, columns = np.nonzero(iou_matrix(hulls_from_oriented(left), hulls_from_oriented(right)) > 0)
    result = np.zeros((len(left), len(right)))
    for start in range(0, len(rows), _PAIRS):
        one, other = rows[start : start + _PAIRS], columns[start : start + _PAIRS]
        shared = _shared_areas(left[one], right[other])
        union = box_areas(left[one]) + box_areas(right[other]) - shared
        result[one, other] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result.clip(0, 1)


def _without_negative_sides(boxes: npt.NDArray[np.floating[Any]]) -> Float64:
    clipped = boxes.astype(np.float64)
    clipped[:, 2:4] = clipped[:, 2:4].clip(min=0)
    return clipped


def _shared_areas(left: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.floating[Any]]) -> Float64:
    """Areas ``[P]`` of the intersections of pairs of oriented boxes ``[P,5]``.

    The intersection of two convex polygons is the convex hull of the corners of each that lie in the other, and of
    the crossings of their edges. These points are sorted by their direction from their mean.
    """
    origin = left[:, :2].astype(np.float64)  # coordinates near zero keep more digits
    one = corners_from_oriented(left) - origin[:, None]
    other = corners_from_oriented(right) - origin[:, None]
    crossings, crossed = _crossings(one, other)
    points = np.concatenate([one, other, crossings], 1)
    valid = np.concatenate([_within(one, right, origin), _within(other, left, origin), crossed], 1)
    count = valid.sum(axis=1)
    points = np.where(valid[:, :, None], points, 0)
    mean = points.sum(axis=1) / np.maximum(count, 1)[:, None]
    spokes = points - mean[:, None]
    direction = np.where(valid, np.arctan2(spokes[:, :, 1], spokes[:, :, 0]), np.inf)
    order = np.argsort(direction, axis=1)
    # Points that do not count repeat the first one, which adds no area.
    order = np.where(np.arange(points.shape[1]) < count[:, None], order, order[:, :1])
    ring = np.take_along_axis(spokes, order[:, :, None], 1)
    following = np.roll(ring, -1, axis=1)
    doubled = (ring[:, :, 0] * following[:, :, 1] - ring[:, :, 1] * following[:, :, 0]).sum(axis=1)
    return np.asarray(np.where(count >= 3, np.abs(doubled) / 2, 0.0))


def _within(points: Float64, boxes: npt.NDArray[np.floating[Any]], origin: Float64) -> npt.NDArray[np.bool_]:
    """True for the points ``[P,K,2]``, relative to `origin`, that lie in their box of ``[P,5]`` or on its edge."""
    boxes = boxes.astype(np.float64)
    offset = points - (boxes[:, :2] - origin)[:, None]
    cos, sin = np.cos(boxes[:, 4])[:, None], np.sin(boxes[:, 4])[:, None]
    along = np.abs(offset[:, :, 0] * cos + offset[:, :, 1] * sin)
    across = np.abs(offset[:, :, 1] * cos - offset[:, :, 0] * sin)
    half = boxes[:, None, 2:4] / 2 * (1 + _INSIDE) + _INSIDE
    return np.asarray((along <= half[:, :, 0]) & (across <= half[:, :, 1]))


def _crossings(one: Float64, other: Float64) -> tuple[Float64, npt.NDArray[np.bool_]]:
    """Where edges of two quadrilaterals ``[P,4,2]`` cross: points ``[P,16,2]``, and which of them exist."""
    start, step = one[:, :, None], (np.roll(one, -1, axis=1) - one)[:, :, None]
    start2, step2 = other[:, None], (np.roll(other, -1, axis=1) - other)[:, None]
    scale = step[..., 0] * step2[..., 1] - step[..., 1] * step2[..., 0]
    apart = start2 - start
    parallel = np.abs(scale) < 1e-12 * np.abs(step).max(axis=-1) * np.abs(step2).max(axis=-1) + 1e-300
    scale = np.where(parallel, 1.0, scale)
    share = (apart[..., 0] * step2[..., 1] - apart[..., 1] * step2[..., 0]) / scale
    share2 = (apart[..., 0] * step[..., 1] - apart[..., 1] * step[..., 0]) / scale
    crossed = ~parallel & (share >= 0) & (share <= 1) & (share2 >= 0) & (share2 <= 1)
    points = start + step * np.where(crossed, share, 0)[..., None]
    return points.reshape(len(one), 16, 2), crossed.reshape(len(one), 16)
