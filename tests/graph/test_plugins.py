"""NMS plugins of TensorRT in a file are replaced by the contract's NMS with their settings, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgevision.contract.spec import NmsSpec
from edgevision.errors import GraphError
from edgevision.export.adoption import adopt_bundle
from edgevision.graph.adopt import AdoptOptions, adopt
from edgevision.graph.foreign.plugins import without_plugin
from tests.graph.networks import SIZE_WH, Array, Maker
from tests.graph.test_foreign_inputs import answers, assert_alike, frames_for

CLASSES, ROWS, KEPT = 3, 126, 20
RESULTS = ("num_dets", "det_boxes", "det_scores", "det_classes")
EFFICIENT = {
    "background_class": -1,
    "box_coding": 1,
    "iou_threshold": 0.65,
    "max_output_boxes": KEPT,
    "plugin_version": "1",
    "score_activation": 0,
    "score_threshold": 0.25,
}
BATCHED = {
    "shareLocation": 1,
    "backgroundLabelId": -1,
    "numClasses": CLASSES,
    "topK": 1000,
    "keepTopK": KEPT,
    "scoreThreshold": 0.3,
    "iouThreshold": 0.5,
    "isNormalized": 0,
    "clipBoxes": 0,
}


def with_plugin(
    kind: str = "EfficientNMS_TRT",
    *,
    domain: str = "TRT",
    batch: int | str = 1,
    further: tuple[str, ...] = (),
    rank: int = 3,
    **changes: Any,
) -> onnx.ModelProto:
    """Boxes and scores of every cell, and the plugin, as exporters write it."""
    attributes: dict[str, Any] = (EFFICIENT if kind == "EfficientNMS_TRT" else BATCHED) | changes
    m = Maker(17)
    value = m.columns(4 + CLASSES)
    xywh = m("Transpose", m.boxes(value), perm=[0, 2, 1])
    if attributes.get("isNormalized"):
        xywh = m("Div", xywh, np.array(SIZE_WH * 2, np.float32))
    boxes = xywh
    if not attributes.get("box_coding"):
        half = m("Mul", m.cut(xywh, 2, 4, 2), np.full((1,), 0.5, np.float32))
        boxes = m("Concat", *(m(kind, m.cut(xywh, 0, 2, 2), half) for kind in ("Sub", "Add")), axis=2)
    if rank == 4:
        boxes = m("Unsqueeze", boxes, np.array([2]))
    scores = m("Transpose", m.cut(value, 4, 4 + CLASSES), perm=[0, 2, 1])
    scores = scores if attributes.get("score_activation") else m("Sigmoid", scores)
    inputs = [boxes, scores, *further]
    results = ["n", "b", "s", "c"]
    m.nodes.append(helper.make_node(kind, inputs, results, name="nms", domain=domain, **attributes))
    if further:
        m.weights.append(onnx.numpy_helper.from_array(np.zeros((1, ROWS, 4), np.float32), further[0]))
    shapes = {
        "n": (TensorProto.INT32, [batch, 1]),
        "b": (1, [batch, KEPT, 4]),
        "s": (1, [batch, KEPT]),
        "c": (TensorProto.INT32 if kind == "EfficientNMS_TRT" else 1, [batch, KEPT]),
    }
    outputs = {name: (value, *shapes[value]) for name, value in zip(RESULTS, results, strict=True)}
    model = m.model(outputs, batch)  # type: ignore[arg-type]
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "theirs.onnx")
    return folder / "theirs.onnx"


def plain_plugin(boxes: Array, scores: Array, settings: dict[str, Any]) -> list[tuple[int, float, Array]]:
    """The plugin's algorithm by its description: label, score and corners of the kept boxes, best first."""
    boxes, scores = boxes.astype(np.float64).reshape(-1, 4), scores.astype(np.float64)
    if settings.get("score_activation"):
        scores = 1 / (1 + np.exp(-scores))
    if settings.get("box_coding"):
        boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    if settings.get("isNormalized"):
        boxes = boxes * (SIZE_WH * 2)
    background = settings.get("background_class", settings.get("backgroundLabelId"))
    floor = settings.get("score_threshold", settings.get("scoreThreshold"))
    limit = float(settings["iou_threshold"] if "iou_threshold" in settings else settings["iouThreshold"])
    rows = [
        (float(scores[row, label]), row, label)
        for row in range(len(boxes))
        for label in range(scores.shape[1])
        if label != background and scores[row, label] >= floor
    ]
    kept: list[tuple[int, float, Array]] = []
    for score, row, label in sorted(rows, key=lambda entry: -entry[0]):
        if all(other != label or iou(boxes[row], box) <= limit for other, _, box in kept):
            kept.append((label, score, boxes[row]))
    return kept[: settings.get("max_output_boxes", settings.get("keepTopK"))]


def iou(one: Array, other: Array) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = sides.clip(min=0).prod()
    areas = [(box[2:] - box[:2]).prod() for box in (one, other)]
    return float(shared / (sum(areas) - shared))


FORMS: dict[str, dict[str, Any]] = {
    "centres": {},
    "corners": {"box_coding": 0},
    "standard domain": {"domain": ""},
    "logits": {"score_activation": 1},
    "background": {"background_class": 0},
    "background, logits": {"background_class": 2, "score_activation": 1},
    "boxes for one class": {"rank": 4},
    "batched": {"kind": "BatchedNMS_TRT", "rank": 4},
    "batched fractions": {"kind": "BatchedNMSDynamic_TRT", "rank": 4, "isNormalized": 1, "clipBoxes": 1},
    "batched, normalized by default only": {"kind": "BatchedNMS_TRT", "backgroundLabelId": 1},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_graph_finds_what_the_plugin_finds(tmp_path: Path, form: str) -> None:
    path = saved(with_plugin(**FORMS[form]), tmp_path)
    adoption = adopt(path)
    assert adoption.recognition.startswith("head tensorrt-nms: ")
    assert adoption.spec.outputs[0].shape == (-1, KEPT, 4)
    frames = frames_for(adoption)
    boxes, scores, labels = answers(adoption, frames)
    base = BATCHED if FORMS[form].get("kind") else EFFICIENT
    session = onnxruntime.InferenceSession(without_plugin(path).SerializeToString())
    tensors = np.ascontiguousarray(frames[..., ::-1].transpose(0, 3, 1, 2), np.float32) / 255
    for row in range(len(frames)):
        raw = session.run(None, {"images": tensors[row : row + 1]})
        expected = plain_plugin(raw[0][0], raw[1][0], base | FORMS[form])
        assert len(expected) == KEPT
        assert labels[row].tolist() == [label for label, _, _ in expected]
        np.testing.assert_allclose(scores[row], [score for _, score, _ in expected], atol=1e-5)
        np.testing.assert_allclose(boxes[row], [box for _, _, box in expected], atol=1e-3)
    assert_alike(path, adoption)


def test_its_settings_hold_unless_the_user_changes_them(tmp_path: Path) -> None:
    path = saved(with_plugin(max_output_boxes=KEPT, iou_threshold=0.6), tmp_path)
    adoption = adopt(path)
    boxes, scores = (value.name for value in without_plugin(path).graph.output)
    assert adoption.recognition == (
        "head tensorrt-nms: EfficientNMS_TRT (score threshold 0.25, IoU threshold 0.6, at most 20 detections) of 2"
        f" outputs {boxes} [1, {ROWS}, 4], {scores} [1, {ROWS}, 3], 3 classes"
    )
    nms = adoption.spec.nms
    assert nms is not None
    assert (nms.max_detections, nms.score_floor) == (KEPT, 0.25)
    assert nms.iou_threshold == pytest.approx(0.6)
    chosen = adopt(path, options=AdoptOptions(nms=NmsSpec(score_floor=0.1, max_detections=50))).spec.nms
    assert chosen is not None
    assert (chosen.max_detections, chosen.score_floor) == (50, 0.1)
    assert chosen.iou_threshold == pytest.approx(0.6)


def test_class_names_may_leave_the_background_out(tmp_path: Path) -> None:
    path = saved(with_plugin(background_class=0), tmp_path)
    adoption = adopt(path, options=AdoptOptions(classes=("a", "b")))
    assert adoption.spec.classes == ("a", "b")
    assert_alike(path, adoption)
    assert set(answers(adoption, frames_for(adoption))[2].ravel()) == {0, 1}


def test_a_dynamic_batch_becomes_a_verified_bundle(tmp_path: Path) -> None:
    path = saved(with_plugin(batch="batch"), tmp_path)
    done: list[str] = []
    bundle = adopt_bundle(path, None, AdoptOptions(), None, tmp_path / "b", done.append)
    assert "EfficientNMS_TRT (score threshold 0.25" in done[0]
    (record,) = bundle.graph("float").verifications
    checks = {check.name: check for check in record.checks}
    assert record.passed
    assert checks["candidates compared"].measured > 100
    assert "relative difference of the network's raw output in the graph" in checks


def _scaled(model: onnx.ModelProto) -> onnx.ModelProto:
    last = next(node for node in model.graph.node if node.output[0] == "det_boxes")
    last.op_type = "Mul"
    last.input.append("b")
    return model


def _with_another(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.output.append(helper.make_tensor_value_info("v0", 1, None))
    return model


def _twice(model: onnx.ModelProto) -> onnx.ModelProto:
    again = next(node for node in model.graph.node if node.op_type == "EfficientNMS_TRT")
    copy = model.graph.node.add()
    copy.CopyFrom(again)
    del copy.output[:]
    copy.output.extend(["n2", "b2", "s2", "c2"])
    return model


REFUSED: dict[str, tuple[onnx.ModelProto, str]] = {
    "anchors": (with_plugin(further=("anchors",)), "decodes boxes by anchors, its third input"),
    "across classes": (with_plugin(class_agnostic=1), "suppresses across classes"),
    "changed": (_scaled(with_plugin()), r"Mul 'n_det_boxes' changes the results of EfficientNMS_TRT"),
    "another output": (_with_another(with_plugin()), "the outputs v0 do not come from EfficientNMS_TRT"),
    "two": (_twice(with_plugin()), "2 nodes EfficientNMS_TRT; expected one"),
    "IoU threshold": (
        with_plugin(iou_threshold=1.0),
        "settings of EfficientNMS_TRT are not supported: iou_thresh",
    ),
    "another plugin": (
        with_plugin("ROIAlign_TRT"),
        r"uses the operators TRT.ROIAlign_TRT; expected standard",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_replaced_is_named(tmp_path: Path, name: str) -> None:
    model, message = REFUSED[name]
    with pytest.raises(GraphError, match=message):
        adopt(saved(model, tmp_path))


def test_another_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"do not match head 'yolov8'.*\n(.*\n)*.*tensorrt-nms"):
        adopt(saved(with_plugin(), tmp_path), "yolov8")
