"""Decides in the graph which pairs of candidates overlap by more than the threshold of NMS.

Terms of each box are computed once; what remains for each pair are sums and products of them. No term may be computed
from the threshold alone: engines would fold it, and replacing the threshold at load would have no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from edgevision.contract.rotated import LEAST_SIDE
from edgevision.graph.builder import GraphBuilder, ints

_TINY = np.float32(1e-30)


class Overlap(Protocol):
    """One kind of boxes."""

    def terms(self, b: GraphBuilder, boxes: str, labels: str, iou_threshold: str) -> tuple[str, ...]:
        """Terms of each box, columns ``[B,K,1]``, of boxes ``[B,K,D]`` and labels ``[B,K]``."""

    def over(self, b: GraphBuilder, columns: Sequence[str], rows: Sequence[str]) -> str:
        """bool ``[B,n,m]``: same label, and overlap above the threshold, of terms ``[B,n,1]`` and ``[B,1,m]``."""


class UprightOverlap:
    """IoU of boxes x1 y1 x2 y2.

    IoU > t is evaluated without a division, as ``intersection > (area_i + area_j) * t / (1 + t)``. Labels are compared:
    an offset for each class would cost 0.03 pixels at 80 classes in float32.
    """

    def terms(self, b: GraphBuilder, boxes: str, labels: str, iou_threshold: str) -> tuple[str, ...]:
        """x1, y1, x2, y2, area * t / (1 + t), label."""
        x1, y1, x2, y2 = b.split(boxes, 2, (1, 1, 1, 1))
        width = b.op("Relu", b.op("Sub", x2, x1))
        height = b.op("Relu", b.op("Sub", y2, y1))
        area = b.op("Mul", width, height)
        # t / (1 + t) as (a * t) / (a + a * t), which depends on the area.
        part = b.op("Mul", area, iou_threshold)
        ratio = b.op("Div", part, b.op("Max", b.op("Add", area, part), _TINY))
        return x1, y1, x2, y2, b.op("Mul", area, ratio), b.op("Unsqueeze", labels, ints(2))

    def over(self, b: GraphBuilder, columns: Sequence[str], rows: Sequence[str]) -> str:
        """One side of the intersection may stay negative: such a product is below any sum of shares."""
        x1, y1, x2, y2, share, label = zip(columns, rows, strict=True)
        width = b.op("Sub", b.op("Min", *x2), b.op("Max", *x1))
        height = b.op("Sub", b.op("Min", *y2), b.op("Max", *y1))
        intersection = b.op("Mul", b.op("Relu", width), height)
        over = b.op("Greater", intersection, b.op("Add", *share))
        return b.op("And", over, b.op("Equal", *label))


class OrientedOverlap:
    """ProbIoU of boxes x y w h angle (Llerena et al., arXiv:2106.06072; `contract.rotated.prob_iou_matrix`).

    Let p >= q be the variances along a box's longer and shorter side, ``e = p - q``, and f the unit vector of its
    longer side times sqrt(e). Its covariance is then ``q I + f f'``. For two boxes at a distance d, with ``Q = q1 +
    q2`` and ``P = p1 + p2``, the summed covariance S has these two values:

        det S = P Q + (f1 x f2)^2,    d' adj(S) d = Q |d|^2 + (f1 x d)^2 + (f2 x d)^2

    Every term is positive, so float32 loses no digits even for long thin boxes. ProbIoU > t means that the
    Bhattacharyya distance is below ``-ln(t (2 - t))``. Twice that distance is ``d' adj(S) d / (2 det S) + ln(det S) -
    ln 4 - ln(p1 q1 p2 q2) / 2``.
    """

    def terms(self, b: GraphBuilder, boxes: str, labels: str, iou_threshold: str) -> tuple[str, ...]:
        """x / sqrt(2), y / sqrt(2), q, p, both parts of f, two logarithms, label."""
        x, y, width, height, angle = b.split(boxes, 2, (1, 1, 1, 1, 1))
        x, y = (b.op("Mul", value, np.float32(0.5**0.5)) for value in (x, y))
        width, height = (b.op("Max", side, np.float32(LEAST_SIDE)) for side in (width, height))
        long, short = b.op("Max", width, height), b.op("Min", width, height)
        p, q = (b.op("Mul", b.op("Mul", side, side), np.float32(1 / 12)) for side in (long, short))
        # (long - short)(long + short) / 12 keeps the digits that p - q would lose.
        spread = b.op("Mul", b.op("Sub", long, short), b.op("Add", long, short))
        length = b.op("Sqrt", b.op("Mul", spread, np.float32(1 / 12)))
        cos, sin = b.op("Cos", angle), b.op("Sin", angle)
        wide = b.op("GreaterOrEqual", width, height)
        f_x = b.op("Mul", length, b.op("Where", wide, cos, b.op("Neg", sin)))
        f_y = b.op("Mul", length, b.op("Where", wide, sin, cos))
        size = b.op("Mul", b.op("Mul", width, height), np.float32(1 / 12))  # sqrt(p q)
        # 2 / (t (2 - t)) as 2 s s / (s t (2 s - s t)), which depends on the size s.
        part = b.op("Mul", size, iou_threshold)
        double = b.op("Add", size, size)
        ratio = b.op("Div", b.op("Mul", double, size), b.op("Mul", part, b.op("Sub", double, part)))
        limit = b.op("Log", b.op("Mul", size, b.op("Mul", ratio, ratio)))
        return x, y, q, p, f_x, f_y, limit, b.op("Log", size), b.op("Unsqueeze", labels, ints(2))

    def over(self, b: GraphBuilder, columns: Sequence[str], rows: Sequence[str]) -> str:
        """The distance is halved by the scale of x and y."""
        x, y, q, p, f_x, f_y, _, _, label = zip(columns, rows, strict=True)
        d_x, d_y = b.op("Sub", *x), b.op("Sub", *y)
        squares = b.op("Add", b.op("Mul", d_x, d_x), b.op("Mul", d_y, d_y))
        q_sum = b.op("Add", *q)
        distance = b.op("Mul", q_sum, squares)
        for one in (0, 1):
            distance = b.op("Add", distance, self._squared_cross(b, f_x[one], f_y[one], d_x, d_y))
        determinant = b.op("Mul", q_sum, b.op("Add", *p))
        determinant = b.op("Add", determinant, self._squared_cross(b, f_x[0], f_y[0], f_x[1], f_y[1]))
        apart = b.op("Add", b.op("Div", distance, determinant), b.op("Log", determinant))
        over = b.op("Less", apart, b.op("Add", columns[6], rows[7]))
        return b.op("And", over, b.op("Equal", *label))

    @staticmethod
    def _squared_cross(b: GraphBuilder, x1: str, y1: str, x2: str, y2: str) -> str:
        cross = b.op("Sub", b.op("Mul", x1, y2), b.op("Mul", y1, x2))
        return b.op("Mul", cross, cross)
