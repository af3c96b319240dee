"""Output of semantic segmentation: one map of classes, at the input's size or at a fraction of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgevision.graph.builder import FLOAT, GraphBuilder
from edgevision.graph.heads.head import Array, NetworkFacts, NetworkOutput
from edgevision.graph.heads.keypoint_maps import reason_against

EXPECTED = (
    "one output [B, C, h, w]: logits or probabilities of each pixel; C = 1: a probability map of two classes; or labels"
    " [B, H, W] of the input's size"
)
MOST_CLASSES = 256
"""A mask of uint8 holds no more."""
_LARGEST_STRIDE = 32
_DEPTHS = ("depth", "dispar")

Answer = Literal["classes", "probability", "labels"]


@dataclass(frozen=True, slots=True)
class SegmenterHead:
    """The map of classes ``[B,C,h,w]`` (Shelhamer et al., arXiv 1411.4038), and how a class is chosen from it.

    Maps of a smaller size are interpolated bilinearly to the input's before the choice, as SegFormer (arXiv
    2105.15203), DeepLabV3 (arXiv 1706.05587) and BiSeNet (arXiv 1808.00897) are evaluated. "probability" is a map of
    one channel: class 1 where it exceeds one half. "labels" are classes already, at the input's size.
    """

    answer: Answer
    class_count: int
    map_wh: tuple[int, int]
    position: int = 0
    """The output among the network's."""

    def mask(self, b: GraphBuilder, outputs: tuple[NetworkOutput, ...], size_wh: tuple[int, int]) -> str:
        """The class of each pixel of the input, whole numbers in float32 ``[B,H,W]``."""
        output = outputs[self.position]
        if self.answer == "labels":
            value = b.op("Cast", output.name, to=FLOAT)
            return value if len(output.shape) == 3 else b.op("Squeeze", value, np.array([1]))
        value = self._enlarged(b, output.name, size_wh)
        if self.answer == "probability":
            above = b.op("Greater", b.op("Squeeze", value, np.array([1])), np.float32(0.5))
            return b.op("Cast", above, to=FLOAT)
        # Through float32, which is exact: TensorRT does not convert integers to uint8 (NvInferRuntimeBase.h, kUINT8).
        return b.op("Cast", b.op("ArgMax", value, axis=1, keepdims=0), to=FLOAT)

    def _enlarged(self, b: GraphBuilder, value: str, size_wh: tuple[int, int]) -> str:
        if self.map_wh == size_wh:
            return value
        scales = np.array([1, 1, size_wh[1] / self.map_wh[1], size_wh[0] / self.map_wh[0]], np.float32)
        options = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return b.op("Resize", value, "", scales, **options)

    def plain(self, array: Array, rows: Array, columns: Array) -> Array:
        """One frame's mask uint8 ``[H,W]`` of its map, in numpy.

        `rows` ``[H,h]`` and `columns` ``[W,w]`` are the matrices of bilinear interpolation.
        """
        values = array.astype(np.float64)
        if self.answer == "labels":
            return np.asarray(values.reshape(values.shape[-2:]), np.uint8)
        values = np.einsum("yh,chw,xw->cyx", rows, values, columns, optimize=True)
        chosen = values[0] > 0.5 if self.answer == "probability" else values.argmax(axis=0)
        return np.asarray(chosen, np.uint8)


def recognise(facts: NetworkFacts) -> SegmenterHead | None:
    """The head if the first output is a map whose sides divide the input's by one number.

    Further outputs must be maps of as many channels, which networks return for training only.
    """
    first = facts.outputs[0]
    labels = _labels(facts)
    if labels is not None:
        return labels
    if len(first.shape) != 4 or None in first.shape[1:] or "float" not in first.dtype:
        return None
    _, channels, height, width = (length or 0 for length in first.shape)
    same = all(len(other.shape) == 4 and other.shape[1] == channels for other in facts.outputs[1:])
    if not same or not _covers(facts.size_wh, (width, height)):
        return None
    count = 2 if channels == 1 else channels
    if not facts.allows(count) or count > MOST_CLASSES:
        return None
    return SegmenterHead("probability" if channels == 1 else "classes", count, (width, height))


def _labels(facts: NetworkFacts) -> SegmenterHead | None:
    first = facts.outputs[0]
    size_hw = facts.size_wh[::-1]
    count = facts.class_count or facts.label_count or 0
    fits = first.shape[1:] in (size_hw, (1, *size_hw)) and "int" in first.dtype
    if len(facts.outputs) != 1 or not fits or not 0 < count <= MOST_CLASSES:
        return None
    return SegmenterHead("labels", count, facts.size_wh)


def _covers(size_wh: tuple[int, int], map_wh: tuple[int, int]) -> bool:
    """True if the input's sides are the map's times one whole number."""
    if 0 in map_wh:
        return False
    stride = round(size_wh[0] / map_wh[0])
    return 1 <= stride <= _LARGEST_STRIDE and size_wh == (map_wh[0] * stride, map_wh[1] * stride)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with such an output is probably no segmenter; None if nothing speaks against it."""
    first, end = facts.outputs[0], facts.end(0)
    keypoints = reason_against(facts)
    if keypoints is not None:
        return keypoints
    if any(part in first.name.lower() for part in _DEPTHS):
        return "the output is a depth map"
    if "int" in first.dtype:
        return None
    channels, full = first.shape[1], first.shape[2:] == facts.size_wh[::-1]
    if channels == 1 and "Sigmoid" not in end:
        return "the only channel does not come from a Sigmoid: depth, or logits"
    if channels == 3 and full and facts.class_count is None and "Softmax" not in end:
        return "three channels at the input's size may be an image"
    if {"Sigmoid", "Softmax"} <= end:
        return "the output joins values of a Sigmoid and of a Softmax: boxes and classes?"
    if channels != 1 and "Sigmoid" in end:
        return "the channels pass a Sigmoid each: keypoint heatmaps, or classes that overlap"
    return None
