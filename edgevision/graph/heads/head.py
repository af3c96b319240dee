"""The protocol of detection heads, and operations that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import INT32, GraphBuilder, ints
from edgevision.graph.nms import Candidates, Carried

Array = npt.NDArray[Any]

MOST_CLASSES = 1 << 16
"""More classes than any public data set has; a larger length is not a number of classes."""
MOST_ANCHORS = 9
MOST_KEYPOINTS = 1 << 10
ARITHMETIC = frozenset(("Add", "Sub", "Mul", "Div", "Pow"))
SCORING = frozenset(("Sigmoid", "Softmax", "HardSigmoid"))
SELECTING = frozenset(("TopK", "NonMaxSuppression", "Loop", "Scan"))
"""Operators that select final boxes."""


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """An output of a bare network: its name and shape, None for a dynamic length."""

    name: str
    dtype: str
    """As numpy names it."""
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join('?' if n is None else str(n) for n in self.shape)}]"


@dataclass(frozen=True, slots=True)
class NmsPlugin:
    """An NMS node of TensorRT that was cut from a file, so that its inputs are the outputs of the network."""

    operator: str
    score_threshold: float
    iou_threshold: float
    max_detections: int
    background: int | None = None
    """Class that is never found; None without one."""
    centres: bool = False
    """True if boxes are centre x y, width, height; False for corners."""
    logits: bool = False
    """True if a Sigmoid is applied to the scores."""
    fractions: bool = False
    """True if boxes are fractions of the image."""

    def __str__(self) -> str:
        return (
            f"{self.operator} (score threshold {self.score_threshold:g}, IoU threshold {self.iou_threshold:g}, at most"
            f" {self.max_detections} detections)"
        )


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """Facts of a network for recognising its head."""

    outputs: tuple[NetworkOutput, ...]
    size_wh: tuple[int, int]
    class_count: int | None
    """None: must be found from the outputs."""
    operators: frozenset[str]
    tail: frozenset[str] = frozenset()
    """Operators between the last layers with weights and the outputs: they decode."""
    joined: int = 0
    """Number of values that the last node of the first output joins; 0 if that node is not a Concat."""
    batch: int | None = None
    """None: dynamic."""
    parts: tuple[int | None, ...] = ()
    """Lengths of the values that make up axis 1 of the first output; empty if no Concat joins them."""
    keypoint_shape: tuple[int, int] | None = None
    """Number of keypoints and values of each (2 or 3), as the user or the metadata states them."""
    ends: tuple[frozenset[str], ...] = ()
    """For each output the operators that compute its values, past those that only move them."""
    fixed_parts: int = 0
    """Number of values joined in the first output that do not depend on the pixels."""
    leading: frozenset[str] = frozenset()
    """Operators that compute the first of the values joined in the first output."""
    label_count: int | None = None
    """Number of classes that the network computes its labels with; None if it does not show that."""
    plugin: NmsPlugin | None = None
    """The node that took the outputs in the file."""

    def single(self, rank: int) -> tuple[int, ...] | None:
        """Lengths after the batch, if there is only one output and it has this rank and fixed lengths."""
        if len(self.outputs) != 1 or len(self.outputs[0].shape) != rank:
            return None
        lengths = tuple(length for length in self.outputs[0].shape[1:] if length is not None)
        return lengths if len(lengths) == rank - 1 else None

    def end(self, index: int) -> frozenset[str]:
        """Operators that compute an output's values; empty if they are unknown."""
        return self.ends[index] if index < len(self.ends) else frozenset()

    def allows(self, class_count: int) -> bool:
        """True if this can be the number of classes."""
        return 0 < class_count <= MOST_CLASSES and self.class_count in (None, class_count)


class DetectionHead(Protocol):
    """Converts raw outputs into candidates."""

    @property
    def class_count(self) -> int:
        """Number of classes that labels index."""

    @property
    def suppressed(self) -> bool:
        """True if the network removes duplicates itself: its boxes are final."""

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """Append nodes that return up to `nms.candidates` candidates; raises `GraphError` for other outputs."""

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Convert one frame's raw outputs, without the batch, to boxes ``[N,4]`` xyxy and scores ``[N,C]``, in numpy.

        Oriented boxes are ``[N,5]`` x y w h angle. A simple implementation that decodes everything in float64: the
        reference for the nodes of `candidates`.
        """


class MaskHead(DetectionHead, Protocol):
    """A detection head whose candidates carry the coefficients of masks; the prototypes are the last output."""

    @property
    def mask_count(self) -> int:
        """Number of coefficients of each box."""


@runtime_checkable
class PoseHead(DetectionHead, Protocol):
    """A head whose candidates carry keypoints, ``[B,N,K*D]``."""

    @property
    def keypoint_shape(self) -> tuple[int, int]:
        """Number K of keypoints, and values D of each: 2 for x y in pixels, 3 with a confidence in 0..1."""

    def plain_keypoints(self, arrays: Sequence[Array]) -> Array:
        """The keypoints ``[N,K,3]`` of the boxes that `plain` returns; the confidence is 1 if the network has none."""


def keypoint_shape_of(facts: NetworkFacts, values: int) -> tuple[int, int] | None:
    """K and D of `values` numbers: as stated, else D is 3 if it divides them, else 2; None if neither fits."""
    if facts.keypoint_shape is not None:
        count, each = facts.keypoint_shape
        return facts.keypoint_shape if count * each == values else None
    if values <= 0 or (values % 3 and values % 2):
        return None
    return (values // 3, 3) if values % 3 == 0 else (values // 2, 2)


def unclear_keypoints(facts: NetworkFacts, values: int) -> str | None:
    """Why `values` numbers may be two kinds of keypoints; None if it is clear."""
    if facts.keypoint_shape is not None or values % 6:
        return None
    return (
        f"{values} values are {values // 3} keypoints of x y confidence, or {values // 2} of x y; choose with"
        f" --keypoints {values // 3}x3 or --keypoints {values // 2}x2"
    )


def plain_points(values: Array, shape: tuple[int, int]) -> Array:
    """Keypoints ``[N,K,3]`` in float64 of ``[N,K*D]``; the confidence is 1 if D is 2."""
    points = values.astype(np.float64).reshape(len(values), *shape)
    return points if shape[1] == 3 else np.pad(points, ((0, 0), (0, 0), (0, 1)), constant_values=1)


def best_pairs(
    b: GraphBuilder,
    boxes: str,
    scores: str,
    rows: int,
    classes: int,
    limit: int,
    *,
    carried: str = "",
    oriented: bool = False,
) -> Candidates:
    """The best `limit` box-class pairs of boxes ``[B,rows,4]`` with scores ``[B,rows,classes]``.

    One class for each box would be cheaper and costs half a point of AP. `carried` ``[B,rows,D]`` holds further values
    of each box. `oriented` boxes are ``[B,rows,5]``.
    """
    count = min(limit, rows * classes)
    flat = b.op("Reshape", scores, ints(0, rows * classes))
    pair_scores, pair = b.ops("TopK", [flat, ints(count)], 2, axis=1)
    row = b.op("Div", pair, np.int64(classes))
    label = b.op("Cast", b.op("Sub", pair, b.op("Mul", row, np.int64(classes))), to=INT32)
    found = Candidates(take_rows(b, boxes, row), pair_scores, label, count, oriented=oriented)
    return replace(found, carried=Carried(carried, row)) if carried else found


def best_rows(b: GraphBuilder, values: str, column: int, rows: int) -> tuple[str, str]:
    """The `rows` rows of ``[B,N,D]`` that are highest in one column, and their indices ``[B,rows]``."""
    key = b.op("Squeeze", b.slice(values, 2, column, column + 1), ints(2))
    _, index = b.ops("TopK", [key, ints(rows)], 2, axis=1)
    return take_rows(b, values, index), index


def take_rows(b: GraphBuilder, values: str, index: str) -> str:
    """Rows ``[B,M,D]`` of values ``[B,N,D]`` by index ``[B,M]``."""
    return b.op("GatherND", values, b.op("Unsqueeze", index, ints(2)), batch_dims=1)


def corners(b: GraphBuilder, centre: str, half_size: str) -> str:
    """Boxes ``[B,N,4]`` xyxy from centres and half sizes, each ``[B,N,2]``."""
    return b.op("Concat", b.op("Sub", centre, half_size), b.op("Add", centre, half_size), axis=2)


def corners_from_xywh(b: GraphBuilder, xy: str, wh: str) -> str:
    """Boxes ``[B,N,4]`` xyxy from centres and sizes, each ``[B,N,2]``."""
    return corners(b, xy, b.op("Mul", wh, np.float32(0.5)))


def cells(size_wh: tuple[int, int], strides: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Column, row and stride ``[N,3]`` of every cell of the maps that these strides give, map after map."""
    tables = []
    for stride in strides:
        row, column = np.indices((size_wh[1] // stride, size_wh[0] // stride), np.float32)
        tables.append(np.stack([column.ravel(), row.ravel(), np.full(row.size, stride, np.float32)], 1))
    return np.concatenate(tables)


def boxes_per_cell(size_wh: tuple[int, int], rows: int) -> int | None:
    """Number of boxes for each cell, if `rows` boxes cover the maps of two or more neighbouring strides of 4 to 64.

    Maps of sides that a stride does not divide are rounded down or up.
    """
    strides = (4, 8, 16, 32, 64)
    width, height = size_wh
    for first in range(len(strides) - 1):
        for last in range(first + 2, len(strides) + 1):
            part = strides[first:last]
            down = sum((width // s) * (height // s) for s in part)
            up = sum(-(-width // s) * -(-height // s) for s in part)
            for count in (down, up):
                if count > 0 and rows % count == 0 and 1 <= rows // count <= MOST_ANCHORS:
                    return rows // count
    return None


def plain_corners(xy: Array, wh: Array) -> Array:
    """`corners_from_xywh` in numpy."""
    return np.concatenate([xy - wh / 2, xy + wh / 2], axis=1)


def logistic(values: Array) -> Array:
    """The logistic function in float64."""
    return np.asarray(1 / (1 + np.exp(-values.astype(np.float64))))
