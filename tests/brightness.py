"""A small model, quick to build, that returns the brightness of a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from edgevision.bundle.folder import Golden, write_bundle
from edgevision.contract.spec import METADATA_KEY, FrameInput, ModelSpec, NmsSpec, Provenance, detect_outputs

SIDE = 64
DETECTIONS = 2
GOLDEN_LEVEL = 128


def write_brightness_bundle(path: Path) -> None:
    """A bundle that detects, in every frame, one "lamp" of 32x32 pixels whose score is the frame's mean brightness."""
    constant = onnx.numpy_helper.from_array
    spec = ModelSpec(
        "brightness",
        "detect",
        FrameInput((SIDE, SIDE)),
        detect_outputs(DETECTIONS),
        ("lamp",),
        Provenance("none", None, "test", "2026-01-01T00:00:00+00:00"),
        NmsSpec(candidates=DETECTIONS, max_detections=DETECTIONS),
    )
    boxes = np.array([[[16, 16, 48, 48], [0, 0, 1, 1]]], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["frames"], ["pixels"], to=onnx.TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Div", ["mean", "white"], ["level"]),
            helper.make_node("Mul", ["level", "weights"], ["scores"]),
            helper.make_node("Identity", ["constant_boxes"], ["boxes"]),
            helper.make_node("Identity", ["constant_labels"], ["labels"]),
        ],
        "brightness",
        [helper.make_tensor_value_info("frames", onnx.TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, [1, DETECTIONS, 4]),
            helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, DETECTIONS]),
            helper.make_tensor_value_info("labels", onnx.TensorProto.INT32, [1, DETECTIONS]),
        ],
        [
            constant(np.array([255], np.float32), "white"),
            constant(np.array([[1, 0]], np.float32), "weights"),
            constant(boxes, "constant_boxes"),
            constant(np.zeros((1, DETECTIONS), np.int32), "constant_labels"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.checker.check_model(model)
    golden = Golden(
        np.full((1, SIDE, SIDE, 3), GOLDEN_LEVEL, np.uint8),
        (boxes, np.array([[GOLDEN_LEVEL / 255, 0]], np.float32), np.zeros((1, DETECTIONS), np.int32)),
    )
    write_bundle(path, spec, model.SerializeToString(), golden)
