"""Faults of kinds that conversions have, planted into finished graphs: does verification catch them?

    python -m tests.verification.planted_faults

prints a table: whether the export is refused, and whether an engine with that fault is refused by its outputs alone
(as of TensorRT, which shows no other values).
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision.contract.spec import NmsSpec
from edgevision.graph import graft as grafting
from edgevision.graph import nms as suppression
from edgevision.graph import preprocess
from edgevision.graph.builder import FLOAT, GraphBuilder, ints
from edgevision.graph.heads.head import take_rows
from edgevision.graph.overlap import OrientedOverlap, UprightOverlap
from edgevision.graph.resample import Taps
from tests.verification.planting import (
    BASES,
    Fault,
    Model,
    Options,
    honest_golden,
    planted_refusal,
    refused_by_outputs,
)


def _pixels(**changes: object) -> Callable[[Options], Options]:
    return lambda o: {**o, "pixels": dataclasses.replace(o["pixels"], **changes)}


def _nms(**changes: Any) -> Callable[[Options], Options]:
    return lambda o: {**o, "nms": dataclasses.replace(o["nms"], **changes)}


def _frames(**changes: Any) -> Callable[[Options], Options]:
    return lambda o: {**o, "frames": dataclasses.replace(o["frames"], **changes)}


def _head(change: Callable[[Any], Any]) -> Callable[[Options], Options]:
    return lambda o: {**o, "head": change(o["head"])}


def _node(
    kind: str, change: Callable[[Model, onnx.NodeProto], None], which: int = 0
) -> Callable[[Model], Model]:
    """A copy with the nth node of a kind that the contract added altered."""

    def edit(model: Model) -> Model:
        copy = Model()
        copy.CopyFrom(model)
        nodes = [n for n in copy.graph.node if n.op_type == kind and n.name.startswith(("pre/", "post/"))]
        change(copy, nodes[which])
        return copy

    return edit


def _attribute(name: str, value: object) -> Callable[[Model, onnx.NodeProto], None]:
    def change(_: Model, node: onnx.NodeProto) -> None:
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def _constant(place: int, change: Callable[[Any], Any]) -> Callable[[Model, onnx.NodeProto], None]:
    """Another value for an input that is a constant."""

    def edit(model: Model, node: onnx.NodeProto) -> None:
        old = next(t for t in model.graph.initializer if t.name == node.input[place])
        value = change(numpy_helper.to_array(old).copy())
        model.graph.initializer.append(numpy_helper.from_array(value, f"{old.name}/planted"))
        node.input[place] = f"{old.name}/planted"

    return edit


def _weights(change: Callable[[Any], Any], largest: bool = True) -> Callable[[Model], Model]:
    """The same network with other weights: all, or those of the largest tensor."""

    def edit(model: Model) -> Model:
        copy = Model()
        copy.CopyFrom(model)
        floats = [t for t in copy.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 4]
        chosen = [max(floats, key=lambda t: int(np.prod(t.dims)))] if largest else floats
        for tensor in chosen:
            tensor.CopyFrom(
                numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name)
            )
        return copy

    return edit


def _truncated(values: Any) -> Any:
    """Float32 cut to bfloat16."""
    return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _flipped(values: Any) -> Any:
    """One bit of the exponent of one weight."""
    values.view(np.uint32).flat[values.size // 2] ^= np.uint32(1 << 25)
    return values


def _shifted_classes(b: GraphBuilder, candidates: Any, nms: NmsSpec) -> Any:
    """Label 0 becomes 1 and 1 becomes 0."""
    swapped = b.op("Where", b.op("Less", candidates.labels, np.int32(2)),
                   b.op("Sub", np.int32(1), candidates.labels), candidates.labels)  # fmt: skip
    return _CLUSTER(b, dataclasses.replace(candidates, labels=swapped), nms)


def _in_half(b: GraphBuilder, candidates: Any, nms: NmsSpec) -> Any:
    """Boxes in FP16, coordinates times 200 in between: beyond its largest number."""
    wide = b.op("Cast", b.op("Mul", candidates.boxes, np.float32(1000)), to=TensorProto.FLOAT16)
    boxes = b.op("Mul", b.op("Cast", wide, to=FLOAT), np.float32(0.001))
    return _CLUSTER(b, dataclasses.replace(candidates, boxes=boxes), nms)


def _rounded(b: GraphBuilder, candidates: Any, nms: NmsSpec) -> Any:
    """Boxes rounded to FP16."""
    boxes = b.op("Cast", b.op("Cast", candidates.boxes, to=TensorProto.FLOAT16), to=FLOAT)
    return _CLUSTER(b, dataclasses.replace(candidates, boxes=boxes), nms)


def _to_pixels(b: GraphBuilder, candidates: Any, nms: NmsSpec) -> Any:
    """Widths one pixel too large, as of inclusive corners."""
    boxes = b.op("Add", candidates.boxes, np.array([0, 0, 1, 1], np.float32))
    return _CLUSTER(b, dataclasses.replace(candidates, boxes=boxes), nms)


def _mirrored(b: GraphBuilder, candidates: Any, nms: NmsSpec) -> Any:
    """Angles turn the other way."""
    boxes = b.op("Mul", candidates.boxes, np.array([1, 1, 1, 1, -1], np.float32))
    return _CLUSTER(b, dataclasses.replace(candidates, boxes=boxes), nms)


def _sides_exchanged(b: GraphBuilder, candidates: Any, nms: NmsSpec) -> Any:
    """Height before width, the angle still that of the width."""
    boxes = b.op("Gather", candidates.boxes, np.array([0, 1, 3, 2, 4], np.int64), axis=2)
    return _CLUSTER(b, dataclasses.replace(candidates, boxes=boxes), nms)


class _WithoutAngle(OrientedOverlap):
    """Boxes overlap as if none were turned."""

    def terms(self, b: GraphBuilder, boxes: str, labels: str, iou_threshold: str) -> tuple[str, ...]:
        upright = b.op("Mul", boxes, np.array([1, 1, 1, 1, 0], np.float32))
        return super().terms(b, upright, labels, iou_threshold)


class _AnyLabel(UprightOverlap):
    """All labels are equal."""

    def terms(self, b: GraphBuilder, boxes: str, labels: str, iou_threshold: str) -> tuple[str, ...]:
        return super().terms(b, boxes, b.op("Mul", labels, np.int32(0)), iou_threshold)


def _worst(b: GraphBuilder, candidates: Any, rows: int) -> Any:
    """The list ends early: half of what may be found."""
    found = _COMPACT(b, candidates, rows // 8)
    missing = rows - rows // 8
    boxes = b.op("Pad", found.boxes, ints(0, 0, 0, 0, missing, 0))
    scores, labels = (b.op("Pad", v, ints(0, 0, 0, missing)) for v in (found.scores, found.labels))
    return dataclasses.replace(found, boxes=boxes, scores=scores, labels=labels, count=rows)


def _corner_boxes(b: GraphBuilder, xy: str, wh: str) -> str:
    """Centre and size taken for two corners."""
    return b.op("Concat", xy, wh, axis=2)


def _unmoved(b: GraphBuilder, boxes: str, placement: object) -> str:
    del b, placement
    return boxes


def _one_pixel(b: GraphBuilder, boxes: str, placement: Any) -> str:
    left, top = placement.offset_xy
    return _TO_FRAME(b, boxes, dataclasses.replace(placement, offset_xy=(left, top + 1)))


def _swapped_coefficients(b: GraphBuilder, values: str, index: str) -> str:
    """Of each detection the coefficients of its neighbour."""
    return _TAKE_ROWS(b, values, b.op("Max", b.op("Sub", index, np.int64(1)), np.int64(0)))


def _nearest(b: GraphBuilder, image: str, axis: int, taps: Taps) -> str:
    return _BLENDED(b, image, axis, dataclasses.replace(taps, share=taps.share.round()))


def _aligned(b: GraphBuilder, image: str, axis: int, taps: Taps) -> str:
    """The first pixel is that of the frame, and so is the last."""
    places = np.linspace(0, taps.low[-1] + 1, len(taps.low))
    low = np.minimum(np.floor(places).astype(np.int64), taps.low[-1])
    return _BLENDED(b, image, axis, Taps(low, (places - low).astype(np.float32)))


_BLENDED = preprocess._blended
_CLUSTER, _COMPACT = suppression.cluster_nms, suppression._compact
_TO_FRAME, _TAKE_ROWS = grafting._to_frame, take_rows


def _nms_code(change: object) -> tuple[tuple[object, str, object], ...]:
    return ((grafting, "cluster_nms", change),)


def _reversed(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return values[::-1]


def _permuted(values: Any) -> Any:
    """Two channels exchanged."""
    values[[0, 1]] = values[[1, 0]]
    return values


FAULTS: dict[str, Fault] = {
    "channel order RGB for BGR": Fault("yolov8", _pixels(order="bgr")),
    "pixels not divided by 255": Fault("yolov8", _pixels(scale=1.0)),
    "normalisation without mean": Fault("resnet", _pixels(mean=(0.0, 0.0, 0.0))),
    "normalisation by 0.5 for ImageNet's": Fault("resnet", _pixels(mean=(0.5,) * 3, std=(0.5,) * 3)),
    "channel order, run-time quantized": Fault("yolov8 quantized at run time", _pixels(order="bgr")),
    "no division by 255, run-time quantized": Fault("yolov8 quantized at run time", _pixels(scale=1.0)),
    "classes swapped, run-time quantized": Fault(
        "yolov8 quantized at run time", code=_nms_code(_shifted_classes)
    ),
    "inclusive corners, run-time quantized": Fault(
        "yolov8 quantized at run time", code=_nms_code(_to_pixels)
    ),
    "NMS threshold 0.6, run-time quantized": Fault("yolov8 quantized at run time", _nms(iou_threshold=0.6)),
    "padding 0 for 114": Fault("yolov8 of camera frames", _frames(pad_value=0)),
    "letterbox off by one pixel": Fault(
        "yolov8 of camera frames",
        graph=_node("Pad", _constant(1, lambda pads: pads + np.array([0, 0, 1, 0, 0, 0, -1, 0]))),
    ),
    "resize to the nearest pixel": Fault(
        "yolov8 of camera frames", code=((preprocess, "_blended", _nearest),)
    ),
    "resize with aligned corners": Fault(
        "yolov8 of camera frames", code=((preprocess, "_blended", _aligned),)
    ),
    "stretched for letterboxed": Fault("yolov8 of camera frames", lambda o: {**o, "network_fit": "stretch"}),
    "boxes not moved to the frame": Fault("yolov8 of camera frames", code=((grafting, "_to_frame", _unmoved),)),
    "boxes moved by one pixel": Fault("yolov8 of camera frames", code=((grafting, "_to_frame", _one_pixel),)),
    "finished boxes moved by one pixel": Fault("end2end", code=((grafting, "_to_frame", _one_pixel),)),
    "classes swapped": Fault("yolov8", code=_nms_code(_shifted_classes)),
    "strides swapped": Fault(
        "yolov5", _head(lambda h: dataclasses.replace(h, strides=_reversed(h.strides)))
    ),
    "anchors swapped": Fault(
        "yolov5", _head(lambda h: dataclasses.replace(h, anchors_px=_reversed(h.anchors_px)))
    ),
    "anchors of one stride permuted": Fault(
        "yolov5",
        _head(lambda h: dataclasses.replace(h, anchors_px=(_reversed(h.anchors_px[0]), *h.anchors_px[1:]))),
    ),
    "boxes not decoded": Fault("yolox", _head(lambda h: dataclasses.replace(h, decoded=True))),
    "centre and size for corners": Fault(
        "yolov8", code=(("edgevision.graph.heads.yolov8", "corners_from_xywh", _corner_boxes),)
    ),
    "inclusive corners": Fault("yolov8", code=_nms_code(_to_pixels)),
    "NMS threshold 0.6 for 0.45": Fault("yolov8", _nms(iou_threshold=0.6)),
    "NMS threshold 0.35 for 0.45": Fault("yolov8", _nms(iou_threshold=0.35)),
    "NMS over all classes": Fault("yolov8", code=((suppression, "UprightOverlap", _AnyLabel),)),
    "no NMS": Fault("yolov8", code=_nms_code(suppression.without_suppression)),
    "NMS steps 2 for 16": Fault("yolov8", _nms(depth=2)),
    "score floor 0.3 for 0.001": Fault("yolov8", _nms(score_floor=0.3)),
    "100 candidates for 400": Fault("yolov8", _nms(candidates=100)),
    "list cut at an eighth": Fault("yolov8", code=((suppression, "_compact", _worst),)),
    "finished list cut at an eighth": Fault("end2end", code=((suppression, "_compact", _worst),)),
    "angles with the opposite sign": Fault("yolov8-obb", code=_nms_code(_mirrored)),
    "width and height of oriented boxes swapped": Fault("yolov8-obb", code=_nms_code(_sides_exchanged)),
    "NMS of oriented boxes without angles": Fault(
        "yolov8-obb", code=((suppression, "OrientedOverlap", _WithoutAngle),)
    ),
    "no NMS of oriented boxes": Fault("yolov8-obb", code=_nms_code(suppression.without_suppression)),
    "boxes rounded to FP16": Fault("yolov5", code=_nms_code(_rounded)),
    "boxes beyond FP16": Fault("yolov5", code=_nms_code(_in_half)),
    "weights cut to bfloat16": Fault("yolov5", network=_weights(_truncated, largest=False)),
    "weights of a classifier cut to bfloat16": Fault("resnet", network=_weights(_truncated, largest=False)),
    "one bit of one weight": Fault("yolov8", network=_weights(_flipped)),
    "weights of two channels exchanged": Fault("yolov5", network=_weights(_permuted)),
    "mask coefficients of another box": Fault(
        "yolov5-seg", code=((grafting, "take_rows", _swapped_coefficients),)
    ),
    "masks not in 0..255": Fault("yolov5-seg", graph=_node("Round", lambda m, n: _halved(m, n))),
    "softmax over the batch": Fault("resnet", graph=_node("Softmax", _attribute("axis", 0))),
    "softmax twice": Fault("resnet", graph=_node("Softmax", lambda m, n: _twice(m, n))),
    "classes counted from 1": Fault("unet", graph=_node("ArgMax", lambda m, n: _one_more(m, n))),
    "mask off by one pixel": Fault(
        "unet of camera frames", graph=_node("Gather", _constant(1, lambda rows: (rows + 1).clip(max=63)))
    ),
}  # fmt: skip


def _after(model: Model, node: onnx.NodeProto, kind: str, *constants: Any, **attributes: Any) -> None:
    """Put another operation behind a node."""
    name = node.output[0]
    node.output[0] = f"{name}/before"
    inputs = [f"{name}/before"]
    for index, value in enumerate(constants):
        inputs.append(f"{name}/planted_{index}")
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), inputs[-1]))
    place = next(i for i, n in enumerate(model.graph.node) if n is node or n.output == node.output)
    model.graph.node.insert(
        place + 1, helper.make_node(kind, inputs, [name], name=f"{name}/planted", **attributes)
    )


def _halved(model: Model, node: onnx.NodeProto) -> None:
    _after(model, node, "Mul", np.float32(0.5))


def _twice(model: Model, node: onnx.NodeProto) -> None:
    _after(model, node, "Softmax", axis=1)


def _one_more(model: Model, node: onnx.NodeProto) -> None:
    _after(model, node, "Add", np.int64(1))


UNSEEN: dict[str, tuple[str, ...]] = {
    "export": (),
    # Below the noise of this model, which is all that its outputs show.
    "outputs": ("inclusive corners, run-time quantized", "NMS threshold 0.6, run-time quantized"),
}
"""Faults that are not seen."""


def main() -> None:
    """Print the table."""
    for base in BASES:
        honest_golden(base)
    print("| fault | model | export | engine's outputs alone |\n|---|---|---|---|")
    for name, fault in FAULTS.items():
        with tempfile.TemporaryDirectory() as folder:
            at_export = planted_refusal(fault, Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            at_engine = refused_by_outputs(fault, Path(folder))
        words = ["caught" if said else "MISSED" for said in (at_export, at_engine)]
        print(f"| {name} | {fault.base} | {words[0]} | {words[1]} |", flush=True)


if __name__ == "__main__":
    main()
