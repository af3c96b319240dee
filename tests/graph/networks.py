"""Small networks with the outputs of every head, like third-party exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]

SIZE_WH = (96, 64)
STRIDES = (8, 16, 32)


class Maker:
    """Collects nodes and weights of a network from ``images`` to whatever is asked for."""

    def __init__(self, opset: int, largest: float = 1.0) -> None:
        self.rng = np.random.default_rng(0)
        self.opset = opset
        self.largest = largest
        """What a white pixel is to the network."""
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def __call__(self, kind: str, *inputs: str | Array, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        names = [value if isinstance(value, str) else self.weight(value) for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [name], name=f"n_{name}", **attributes))
        return name

    def weight(self, value: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def conv(self, channels: int, stride: int, spread: float = 4.0) -> str:
        """A map ``[B,channels,H/stride,W/stride]`` of values of about N(0, spread), straight from the image."""
        weights = self.rng.normal(0, 1, (channels, 3, stride, stride)) * spread / np.sqrt(3 * stride**2) * 2
        bias = -weights.sum(axis=(1, 2, 3)) / 2
        values = ((weights / self.largest).astype(np.float32), bias.astype(np.float32))
        return self("Conv", "images", *values, strides=[stride, stride], kernel_shape=[stride, stride])

    def columns(self, channels: int) -> str:
        """``[B,channels,N]`` over the cells of all strides."""
        maps = [self("Reshape", self.conv(channels, s), np.array([0, channels, -1])) for s in STRIDES]
        return self("Concat", *maps, axis=2)

    def cut(self, value: str, start: int, stop: int, axis: int = 1) -> str:
        return self("Slice", value, *(np.array([n]) for n in (start, stop, axis)))

    def boxes(self, value: str) -> str:
        """x y w h in pixels from the first four of ``[B,4+,N]``."""
        size = np.array([*SIZE_WH, *SIZE_WH], np.float32).reshape(1, 4, 1)
        return self("Mul", self("Sigmoid", self.cut(value, 0, 4)), size)

    def model(
        self, outputs: dict[str, tuple[str, int, list[int | str | None]]], batch: int | str = 1
    ) -> onnx.ModelProto:
        """`outputs`: final name to (value, type, shape)."""
        for name, (value, _, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [name], name=f"n_{name}"))
        graph = helper.make_graph(
            self.nodes,
            "somebody's",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, SIZE_WH[1], SIZE_WH[0]])],
            [helper.make_tensor_value_info(name, kind, shape) for name, (_, kind, shape) in outputs.items()],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def yolov5(classes: int = 3, batch: int | str = 1, opset: int = 17) -> onnx.ModelProto:
    m = Maker(opset)
    value = m.columns(5 + classes)
    scores = m("Sigmoid", m.cut(value, 4, 5 + classes))
    rows = m("Transpose", m("Concat", m.boxes(value), scores, axis=1), perm=[0, 2, 1])
    return m.model({"output0": (rows, 1, [batch, None, 5 + classes])}, batch)


def yolov8(classes: int = 3, batch: int | str = 1, opset: int = 17) -> onnx.ModelProto:
    m = Maker(opset)
    value = m.columns(4 + classes)
    scores = m("Sigmoid", m.cut(value, 4, 4 + classes))
    columns = m("Concat", m.boxes(value), scores, axis=1)
    return m.model({"output0": (columns, 1, [batch, 4 + classes, None])}, batch)


def yolov8_pose(
    classes: int = 2, batch: int | str = 1, opset: int = 17, *, keypoints: tuple[int, int] = (5, 3)
) -> onnx.ModelProto:
    m = Maker(opset)
    count = keypoints[0] * keypoints[1]
    value = m.columns(4 + classes + count)
    scores = m("Sigmoid", m.cut(value, 4, 4 + classes))
    size = np.array([*SIZE_WH, 1.0] * keypoints[0], np.float32).reshape(-1, 3)[:, : keypoints[1]]
    points = m("Sigmoid", m.cut(value, 4 + classes, 4 + classes + count))
    # Some keypoints lie outside of the image.
    spread = np.where(size == 1, 1, size * 1.5).reshape(1, count, 1).astype(np.float32)
    columns = m("Concat", m.boxes(value), scores, m("Mul", points, spread), axis=1)
    return m.model({"output0": (columns, 1, [batch, 4 + classes + count, None])}, batch)


def _turned(m: Maker, value: str, first: int, axis: int = 1) -> str:
    """An angle from one of the values, through the sines and cosines that such networks have."""
    angle = m("Mul", m("Sigmoid", m.cut(value, first, first + 1, axis)), np.full((1,), 3.0, np.float32))
    zero = m("Mul", m("Mul", m("Sin", angle), m("Cos", angle)), np.zeros((1,), np.float32))
    return m("Add", angle, zero)


def yolov8_obb(classes: int = 3, batch: int | str = 1, opset: int = 17) -> onnx.ModelProto:
    m = Maker(opset)
    value = m.columns(5 + classes)
    scores = m("Sigmoid", m.cut(value, 4, 4 + classes))
    columns = m("Concat", m.boxes(value), scores, _turned(m, value, 4 + classes), axis=1)
    return m.model({"output0": (columns, 1, [batch, 5 + classes, None])}, batch)


def fractions() -> onnx.ModelProto:
    """The shapes of `yolov8` with places as fractions of the image."""
    m = Maker(17, 255.0)
    return m.model({"output0": (m("Sigmoid", m.columns(7)), 1, [1, 7, None])})


def logits() -> onnx.ModelProto:
    """The shapes of `yolov8` without the logistic function."""
    m = Maker(17, 255.0)
    value = m.columns(7)
    columns = m("Concat", m.boxes(value), m.cut(value, 4, 7), axis=1)
    return m.model({"output0": (columns, 1, [1, 7, None])})


def yolox(
    classes: int = 3, batch: int | str = 1, opset: int = 17, *, decoded: bool = False
) -> onnx.ModelProto:
    m = Maker(opset, 255.0)
    value = m.columns(5 + classes)
    place = m("Mul", m.cut(value, 0, 4), np.full((1, 1, 1), 0.25, np.float32))
    if decoded:
        # What --decode_in_inference adds, up to the constants.
        place = m("Concat", m.cut(m.boxes(value), 0, 2), m("Exp", m.cut(value, 2, 4)), axis=1)
    scores = m("Sigmoid", m.cut(value, 4, 5 + classes))
    rows = m("Transpose", m("Concat", place, scores, axis=1), perm=[0, 2, 1])
    return m.model({"output": (rows, 1, [batch, None, 5 + classes])}, batch)


def fastestdet(classes: int = 3, batch: int | str = 1, opset: int = 17) -> onnx.ModelProto:
    m = Maker(opset)
    objectness = m("Sigmoid", m.conv(1, 8))
    kinds = m("Softmax", m.conv(classes, 8), axis=1)
    value = m("Concat", objectness, m.conv(4, 8), kinds, axis=1)
    return m.model({"758": (value, 1, [batch, 5 + classes, 8, 12])}, batch)


def _finished(m: Maker, count: int, size_wh: tuple[int, int] = SIZE_WH) -> tuple[str, str, str]:
    """Boxes ``[B,count,4]`` xyxy, scores and float labels ``[B,count]`` of two classes."""
    value = m("Transpose", m.cut(m.columns(6), 0, count, 2), perm=[0, 2, 1])
    size = np.array(size_wh, np.float32)
    low = m("Mul", m("Sigmoid", m.cut(value, 0, 2, 2)), size)
    high = m("Add", low, m("Mul", m("Sigmoid", m.cut(value, 2, 4, 2)), size))
    boxes = m("Concat", low, high, axis=2)
    scores = m("Squeeze", m("Sigmoid", m.cut(value, 4, 5, 2)), np.array([2]))
    raised = m("Squeeze", m.cut(value, 5, 6, 2), np.array([2]))
    labels = m("Cast", m("Greater", raised, np.zeros((), np.float32)), to=TensorProto.FLOAT)
    return boxes, scores, labels


def end2end(
    count: int = 20, batch: int | str = 1, opset: int = 17, *, fractions: bool = False
) -> onnx.ModelProto:
    m = Maker(opset)
    boxes, scores, labels = _finished(m, count, (1, 1) if fractions else SIZE_WH)
    last = [m("Unsqueeze", value, np.array([2])) for value in (scores, labels)]
    return m.model({"output0": (m("Concat", boxes, *last, axis=2), 1, [batch, count, 6])}, batch)


def end2end_apart(count: int = 20, batch: int | str = 1, opset: int = 17) -> onnx.ModelProto:
    m = Maker(opset)
    boxes, scores, labels = _finished(m, count)
    integers = m("Cast", labels, to=TensorProto.INT64)
    outputs: dict[str, tuple[str, int, list[int | str | None]]] = {
        "labels": (integers, TensorProto.INT64, [batch, count]),
        "boxes": (boxes, 1, [batch, count, 4]),
        "scores": (scores, 1, [batch, count]),
    }
    return m.model(outputs, batch)


def _selected(m: Maker, rows: str, width: int, batch: int | str, count: int) -> onnx.ModelProto:
    """The rows ``[B,N,width]`` of the highest scores, which are their fifth values, in order."""
    scores = m("Squeeze", m.cut(rows, 4, 5, 2), np.array([2]))
    m.nodes.append(
        helper.make_node("TopK", [scores, m.weight(np.array([count]))], ["top", "place"], name="top")
    )
    place = m("Unsqueeze", "place", np.array([2]))
    best = m("GatherND", rows, place, batch_dims=1)
    return m.model({"output0": (best, 1, [batch, count, width])}, batch)


def end2end_pose(count: int = 20, batch: int | str = 1, opset: int = 17) -> onnx.ModelProto:
    """Five keypoints of x y confidence."""
    m = Maker(opset)
    boxes, scores, labels = _finished(m, count)
    last = [m("Unsqueeze", value, np.array([2])) for value in (scores, labels)]
    points = m("Transpose", m.cut(m.columns(15), 0, count, 2), perm=[0, 2, 1])
    points = m("Mul", m("Sigmoid", points), np.array([*SIZE_WH, 1.0] * 5, np.float32))
    return _selected(m, m("Concat", boxes, *last, points, axis=2), 21, batch, count)


def end2end_obb(count: int = 20, batch: int | str = 1, opset: int = 17) -> onnx.ModelProto:
    m = Maker(opset)
    boxes, scores, labels = _finished(m, count)
    angle = _turned(m, boxes, 0, 2)
    last = [m("Unsqueeze", value, np.array([2])) for value in (scores, labels)]
    return _selected(m, m("Concat", boxes, *last, angle, axis=2), 7, batch, count)


def classifier(
    classes: int = 3, batch: int | str = 1, opset: int = 17, *, softmax: bool = False
) -> onnx.ModelProto:
    m = Maker(opset)
    logits = m("Flatten", m("GlobalAveragePool", m.conv(classes, 8, 40.0)), axis=1)
    value = m("Softmax", logits, axis=1) if softmax else logits
    return m.model({"probs": (value, 1, [batch, classes])}, batch)


DETECTORS: dict[str, Callable[..., onnx.ModelProto]] = {
    "yolov5": yolov5,
    "yolov8": yolov8,
    "yolox": yolox,
    "fastestdet": fastestdet,
}


def with_metadata(model: onnx.ModelProto, **entries: str) -> onnx.ModelProto:
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    return model
