"""Models with random weights: crowds of nearly equal boxes, nothing found, values rounded at run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from tests.graph.networks import SIZE_WH, STRIDES, Maker

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Kind:
    """One model: its head, the seed of its weights, and what its outputs are like."""

    head: str
    seed: int = 0
    bias: float = 0.0
    """Of the logits of scores: raised, everything is found; lowered, nothing."""
    crowded: bool = False
    """All boxes are nearly the same one."""
    dynamic: bool = False
    """Weights are 8-bit, and values are quantized at run time."""
    channels: int = 8


KINDS = {
    "yolov8": Kind("yolov8", 1),
    "yolov8 everything found": Kind("yolov8", 2, 3.0),
    "yolov8 crowded": Kind("yolov8", 3, 2.0, crowded=True),
    "yolov8 crowded again": Kind("yolov8", 4, 0.0, crowded=True),
    "yolov8 nothing found": Kind("yolov8", 5, -22.0),
    "yolov8 nothing near": Kind("yolov8", 6, -40.0),
    "yolov8 quantized at run time": Kind("yolov8", 7, 1.0, dynamic=True),
    "yolov8 quantized, crowded": Kind("yolov8", 8, 2.0, crowded=True, dynamic=True),
    "yolov8 quantized, nothing found": Kind("yolov8", 9, -40.0, dynamic=True),
    "yolov5": Kind("yolov5", 10),
    "yolov5 everything found": Kind("yolov5", 11, 3.0),
    "yolov5 crowded": Kind("yolov5", 12, 2.0, crowded=True),
    "yolov5 nothing found": Kind("yolov5", 13, -30.0),
    "yolov5 quantized at run time": Kind("yolov5", 14, 1.0, dynamic=True),
    "yolox": Kind("yolox", 15),
    "yolox crowded": Kind("yolox", 16, 2.0, crowded=True),
    "yolox quantized at run time": Kind("yolox", 17, 1.0, dynamic=True),
    "fastestdet": Kind("fastestdet", 18),
    "fastestdet nothing found": Kind("fastestdet", 19, -40.0),
    "classifier": Kind("classifier", 20),
    "classifier near ties": Kind("classifier", 21, 0.0, crowded=True),
    "classifier quantized at run time": Kind("classifier", 22, dynamic=True),
}  # fmt: skip


class Network(Maker):
    """Two layers with weights before each map."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(17)
        self.rng = np.random.default_rng(kind.seed)
        self.kind = kind

    def normal(self, *shape: int, spread: float = 1.0) -> Array:
        values = self.rng.normal(0, spread, shape) / np.sqrt(np.prod(shape[1:]))
        return np.asarray(values, np.float32)

    def map(self, channels: int, stride: int, spread: float = 3.0) -> str:
        """``[B,channels,H/stride,W/stride]`` of values of about N(0, spread)."""
        hidden, k = self.kind.channels, stride
        spread_in = 4.0 / 255 if self.kind.head == "yolox" else 4.0  # YOLOX takes pixels of 0..255
        weights = self.normal(hidden, 3, k, k, spread=spread_in)
        first = self("Conv", "images", weights, strides=[k, k], kernel_shape=[k, k])
        first = self("Relu", self("Add", first, np.full((1, hidden, 1, 1), 0.3, np.float32)))
        return self(
            "Conv", first, self.normal(channels, hidden, 1, 1, spread=spread * 2), kernel_shape=[1, 1]
        )

    def columns(self, channels: int) -> str:
        maps = [self("Reshape", self.map(channels, s), np.array([0, channels, -1])) for s in STRIDES]
        return self("Concat", *maps, axis=2)

    def places(self, value: str) -> str:
        """Centres over the whole image for most boxes, and sizes; nearly one box if crowded."""
        size = np.array([*SIZE_WH, *SIZE_WH], np.float32).reshape(1, 4, 1)
        if self.kind.crowded:
            value = self("Mul", value, np.array([1, 1, 0.02, 0.02], np.float32).reshape(1, 4, 1))
        return self("Mul", self("Sigmoid", value), size)

    def scores(self, value: str) -> str:
        return self("Sigmoid", self("Add", value, np.full((1, 1, 1), self.kind.bias, np.float32)))


def _yolov8(m: Network) -> onnx.ModelProto:
    value = m.columns(7)
    columns = m("Concat", m.places(m.cut(value, 0, 4)), m.scores(m.cut(value, 4, 7)), axis=1)
    return m.model({"output0": (columns, 1, [1, 7, None])})


def _yolov5(m: Network) -> onnx.ModelProto:
    value = m.columns(8)
    columns = m("Concat", m.places(m.cut(value, 0, 4)), m.scores(m.cut(value, 4, 8)), axis=1)
    return m.model({"output0": (m("Transpose", columns, perm=[0, 2, 1]), 1, [1, None, 8])})


def _yolox(m: Network) -> onnx.ModelProto:
    value = m.columns(8)
    factor = np.array([1, 1, 0.02, 0.02] if m.kind.crowded else [0.1] * 4, np.float32).reshape(1, 4, 1)
    place = m("Mul", m.cut(value, 0, 4), factor)
    if m.kind.crowded:
        place = m("Add", place, np.array([0, 0, 1.5, 1.5], np.float32).reshape(1, 4, 1))
    columns = m("Concat", place, m.scores(m.cut(value, 4, 8)), axis=1)
    return m.model({"output": (m("Transpose", columns, perm=[0, 2, 1]), 1, [1, None, 8])})


def _fastestdet(m: Network) -> onnx.ModelProto:
    bias = np.full((1, 1, 1, 1), m.kind.bias, np.float32)
    objectness = m("Sigmoid", m("Add", m.map(1, 8), bias))
    value = m("Concat", objectness, m.map(4, 8), m("Softmax", m.map(3, 8), axis=1), axis=1)
    return m.model({"758": (value, 1, [1, 8, 8, 12])})


def _classifier(m: Network) -> onnx.ModelProto:
    logits = m("Flatten", m("GlobalAveragePool", m.map(10, 8, 1e-6 if m.kind.crowded else 30.0)), axis=1)
    return m.model({"logits": (logits, 1, [1, 10])})


_MAKERS: dict[str, Callable[[Network], onnx.ModelProto]] = {
    "yolov8": _yolov8,
    "yolov5": _yolov5,
    "yolox": _yolox,
    "fastestdet": _fastestdet,
    "classifier": _classifier,
}


def write_model(kind: Kind, file: Path) -> None:
    """Write the ONNX file of a model."""
    model = _MAKERS[kind.head](Network(kind))
    if not kind.dynamic:
        onnx.save(model, file)
        return
    plain = file.with_suffix(".float.onnx")
    onnx.save(model, plain)
    quantize_dynamic(plain, file, weight_type=QuantType.QUInt8)
