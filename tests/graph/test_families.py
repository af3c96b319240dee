"""Files of other families are recognised from their outputs and operators, and answer as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgevision.errors import GraphError
from edgevision.graph.adopt import AdoptOptions, adopt
from edgevision.graph.foreign.recognition import AmbiguousHeadError
from edgevision.graph.reference import source_answers
from tests.graph import networks
from tests.graph.networks import SIZE_WH, Array, Maker, with_metadata
from tests.graph.test_foreign_inputs import assert_alike, frames_for, saved

CELLS = 126
PIXELS = np.array([*SIZE_WH, *SIZE_WH], np.float32)


def corner_boxes(m: Maker, value: str, size: Array = PIXELS) -> str:
    """x1 y1 x2 y2 ``[B,N,4]`` from rows ``[B,N,4+]``."""
    low = m("Mul", m("Sigmoid", m.cut(value, 0, 2, 2)), size[:2] * 0.7)
    high = m("Add", low, m("Mul", m("Sigmoid", m.cut(value, 2, 4, 2)), size[:2] * 0.3))
    return m("Concat", low, high, axis=2)


def rows_of(m: Maker, channels: int, count: int | None = None) -> str:
    value = m.columns(channels)
    value = value if count is None else m.cut(value, 0, count, 2)
    return m("Transpose", value, perm=[0, 2, 1])


def queries(
    columns: int, *, select: bool, names: tuple[str, str] = ("logits", "pred_boxes"), count: int = 30
) -> onnx.ModelProto:
    """DETR's outputs; `select` adds RT-DETR's selection of queries."""
    m = Maker(17)
    value = rows_of(m, 4 + columns)
    if select:
        best = m("ReduceMax", m.cut(value, 4, 4 + columns, 2), axes=[2], keepdims=0)
        m.nodes.append(
            onnx.helper.make_node("TopK", [best, m.weight(np.array([count]))], ["top", "at"], axis=1)
        )
        index = m("Unsqueeze", "at", np.array([2]))
        value = m("GatherND", value, index, batch_dims=1)
    else:
        value = m.cut(value, 0, count, 1)
    boxes = m("Sigmoid", m.cut(value, 0, 4, 2))
    logits = m("Add", m.cut(value, 4, 4 + columns, 2), np.zeros(columns, np.float32))
    return m.model({names[0]: (logits, 1, [1, count, columns]), names[1]: (boxes, 1, [1, count, 4])})


def query_rows(classes: int = 3) -> onnx.ModelProto:
    m = Maker(17)
    value = rows_of(m, 4 + classes)
    best = m("ReduceMax", value, axes=[2], keepdims=0)
    m.nodes.append(onnx.helper.make_node("TopK", [best, m.weight(np.array([30]))], ["top", "at"], axis=1))
    value = m("GatherND", value, m("Unsqueeze", "at", np.array([2])), batch_dims=1)
    parts = [m("Sigmoid", m.cut(value, *ends, 2)) for ends in ((0, 4), (4, 4 + classes))]
    return m.model({"output0": (m("Concat", *parts, axis=2), 1, [1, 30, 4 + classes])})


def finished_queries(classes: int = 3) -> onnx.ModelProto:
    """The best pairs of query and class, as newer exports of the Ultralytics package give them."""
    m = Maker(17)
    value = rows_of(m, 4 + classes)
    flat = m("Reshape", m("Sigmoid", m.cut(value, 4, 4 + classes, 2)), np.array([0, -1]))
    m.nodes.append(onnx.helper.make_node("TopK", [flat, m.weight(np.array([25]))], ["best", "at"], axis=1))
    query = m("Div", "at", np.array(classes))
    label = m("Sub", "at", m("Mul", query, np.array(classes)))
    boxes = m(
        "GatherND", m("Sigmoid", m.cut(value, 0, 4, 2)), m("Unsqueeze", query, np.array([2])), batch_dims=1
    )
    last = [m("Unsqueeze", v, np.array([2])) for v in ("best", m("Cast", label, to=1))]
    return m.model({"output0": (m("Concat", boxes, *last, axis=2), 1, [1, 25, 6])})


def yolov6(classes: int = 3, batch: int | str = 1) -> onnx.ModelProto:
    m = Maker(17)
    value = m.columns(4 + classes)
    boxes = m("Transpose", m.boxes(value), perm=[0, 2, 1])
    scores = m("Transpose", m("Sigmoid", m.cut(value, 4, 4 + classes)), perm=[0, 2, 1])
    shape = m("Concat", m("Gather", m("Shape", scores), np.array([0])), np.array([CELLS, 1]), axis=0)
    ones = m("Expand", np.ones((1, 1, 1), np.float32), shape)
    return m.model(
        {"outputs": (m("Concat", boxes, ones, scores, axis=2), 1, [batch, None, 5 + classes])}, batch
    )


def two_outputs(order: str, classes: int = 3, largest: float = 1.0) -> onnx.ModelProto:
    m = Maker(17, largest)
    value = rows_of(m, 4 + classes)
    boxes, scores = corner_boxes(m, value), m("Sigmoid", m.cut(value, 4, 4 + classes, 2))
    if order == "classes first":
        scores = m("Transpose", scores, perm=[0, 2, 1])
        shape: list[int | str | None] = [1, classes, CELLS]
    else:
        shape = [1, CELLS, classes]
    named = {"boxes": (boxes, 1, [1, CELLS, 4]), "scores": (scores, 1, shape)}
    return m.model(dict(reversed(named.items())) if order == "scores first" else named)  # type: ignore[arg-type]


def ssd(classes: int = 3) -> onnx.ModelProto:
    m = Maker(17)
    value = rows_of(m, 5 + classes, 100)
    boxes = corner_boxes(m, value, np.ones(4, np.float32))
    scores = m("Softmax", m.cut(value, 4, 5 + classes, 2), axis=2)
    return m.model({"scores": (scores, 1, [1, 100, 1 + classes]), "boxes": (boxes, 1, [1, 100, 4])})


def nanodet(classes: int = 3, strides: tuple[int, ...] = (8, 16, 32, 64)) -> onnx.ModelProto:
    m = Maker(17)
    maps = []
    for stride in strides:
        # A convolution of stride 64 covers one row of 64: the map of 32 is pooled instead.
        value = m.conv(classes + 32, min(stride, 32))
        if stride == 64:
            value = m("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        scores = m("Sigmoid", m.cut(value, 0, classes))
        joined = m("Concat", scores, m.cut(value, classes, classes + 32), axis=1)
        maps.append(m("Reshape", joined, np.array([0, classes + 32, -1])))
    rows = m("Transpose", m("Concat", *maps, axis=2), perm=[0, 2, 1])
    return m.model({"output": (rows, 1, [1, None, classes + 32])})


def efficient_nms(count: int = 20) -> onnx.ModelProto:
    m = Maker(17)
    boxes, scores, labels = networks._finished(m, count)
    found = m("Cast", m("Greater", scores, np.float32(0.3) * np.ones((), np.float32)), to=TensorProto.INT32)
    number = m("ReduceSum", found, np.array([1]), keepdims=1)
    order = m.weight(np.array([count]))
    m.nodes.append(onnx.helper.make_node("TopK", [scores, order], ["sorted", "at"], axis=1))
    at = m("Unsqueeze", "at", np.array([2]))
    boxes = m("GatherND", boxes, at, batch_dims=1)
    labels = m("Cast", m("GatherElements", labels, "at", axis=1), to=TensorProto.INT32)
    return m.model(
        {
            "num_dets": (number, TensorProto.INT32, [1, 1]),
            "det_boxes": (boxes, 1, [1, count, 4]),
            "det_scores": ("sorted", 1, [1, count]),
            "det_classes": (labels, TensorProto.INT32, [1, count]),
        }
    )


def packed(kind: str) -> onnx.ModelProto:
    """Rows of one frame, as many as there are boxes above a score."""
    m = Maker(17)
    boxes, scores, labels = networks._finished(m, 20)
    values: dict[str, str | Array] = {
        "frame": np.zeros((1, 20, 1), np.float32),
        "box": boxes,
        "score": m("Unsqueeze", scores, np.array([2])),
        "label": m("Unsqueeze", labels, np.array([2])),
    }
    order = ("label", "score", "box") if kind == "paddle" else ("frame", "box", "label", "score")
    rows = m("Squeeze", m("Concat", *(values[name] for name in order), axis=2), np.array([0]))
    kept = m("Greater", m("Squeeze", scores, np.array([0])), np.full((), 0.5, np.float32))
    rows = m("Compress", rows, kept, axis=0)
    best = m("ReduceMax", scores, axes=[1], keepdims=1)
    m.nodes.append(onnx.helper.make_node("TopK", [best, m.weight(np.array([1]))], ["top", "at"], axis=1))
    outputs = {"rows": (rows, 1, [None, 7 if kind != "paddle" else 6])}
    if kind == "paddle":
        number = m("ReduceSum", m("Cast", kept, to=TensorProto.INT32), np.array([0]), keepdims=1)
        outputs["number"] = (m("Cast", number, to=TensorProto.INT32), TensorProto.INT32, [1])
    else:
        rows = m("Add", rows, m("Mul", m("Cast", "at", to=1), np.zeros((1, 1), np.float32)))
        outputs = {"rows": (rows, 1, [None, 7])}
    return m.model(outputs)  # type: ignore[arg-type]


def seg(*, finished: bool = False, classes: int = 3, masks: int = 4) -> onnx.ModelProto:
    m = Maker(17)
    protos = m.conv(masks, 4)
    if finished:
        boxes, scores, labels = networks._finished(m, 20)
        last = [m("Unsqueeze", value, np.array([2])) for value in (scores, labels)]
        further = m.cut(rows_of(m, masks), 0, 20, 1)
        value = m("Concat", boxes, *last, further, axis=2)
        shape: list[int | str | None] = [1, 20, 6 + masks]
    else:
        raw = m.columns(4 + classes + masks)
        scores = m("Sigmoid", m.cut(raw, 4, 4 + classes))
        value = m("Concat", m.boxes(raw), scores, m.cut(raw, 4 + classes, 4 + classes + masks), axis=1)
        shape = [1, 4 + classes + masks, None]
    return m.model({"output0": (value, 1, shape), "output1": (protos, 1, [1, masks, 16, 24])})


def logits_map(stride: int, classes: int = 5, *, auxiliary: bool = False) -> onnx.ModelProto:
    m = Maker(17)
    outputs = {"out": (m.conv(classes, stride), 1, [1, classes, None, None])}
    if auxiliary:
        outputs["aux"] = (m.conv(classes, 16), 1, [1, classes, None, None])
    return m.model(outputs)  # type: ignore[arg-type]


def label_map(classes: int = 5) -> onnx.ModelProto:
    m = Maker(17)
    value = m("Resize", m.conv(classes, 4), "", np.array([1, 1, 4, 4], np.float32), mode="linear")
    labels = m("Cast", m("ArgMax", value, axis=1, keepdims=0), to=TensorProto.INT32)
    return m.model({"label": (labels, TensorProto.INT32, [1, 64, 96])})


FAMILIES: dict[str, tuple[Callable[[], onnx.ModelProto], str, int, tuple[str, ...] | None]] = {
    "rt-detr": (lambda: queries(3, select=True), "detr", 3, None),
    "rt-detr and one name less": (lambda: queries(4, select=True), "detr", 3, ("a", "b", "c")),
    "coco by id": (lambda: queries(91, select=True), "detr", 91, None),
    "named": (lambda: queries(3, select=False), "detr-imagenet", 3, ("a", "b", "c")),
    "detr": (lambda: queries(92, select=False), "detr-softmax", 91, None),
    "detr named": (lambda: queries(4, select=False), "detr-softmax", 3, ("a", "b", "c")),
    "rf-detr": (lambda: queries(4, select=True, names=("labels", "dets")), "detr-imagenet", 4, None),
    "rows of rt-detr": (query_rows, "rt-detr-rows", 3, None),
    "rows of rt-detr, two classes": (lambda: query_rows(2), "rt-detr-rows", 2, None),
    "finished rows of rt-detr": (finished_queries, "rt-detr-finished", 3, None),
    "yolov6": (yolov6, "yolov6", 3, None),
    "yolo-nas": (lambda: two_outputs("boxes first"), "yolo-nas", 3, None),
    "damo-yolo": (lambda: two_outputs("scores first", largest=255.0), "damo-yolo", 3, None),
    "pp-yoloe": (lambda: two_outputs("classes first"), "pp-yoloe", 3, None),
    "ssd": (ssd, "ssd", 3, None),
    "ssd with a named background": (ssd, "ssd", 4, ("background", "a", "b", "c")),
    "nanodet": (nanodet, "nanodet", 3, None),
    "nanodet without plus": (lambda: nanodet(strides=(8, 16, 32)), "nanodet", 3, None),
    "efficient nms": (efficient_nms, "efficient-nms", 2, ("a", "b")),
    "paddle": (lambda: packed("paddle"), "paddle", 2, ("a", "b")),
    "yolov7 end2end": (lambda: packed("yolov7"), "yolov7-e2e", 2, ("a", "b")),
    "masks": (seg, "yolov8-seg", 3, None),
    "finished masks": (lambda: seg(finished=True), "end2end-seg", 2, ("a", "b")),
    "logits at a quarter": (lambda: logits_map(4), "segmenter", 5, None),
    "logits and an auxiliary output": (lambda: logits_map(8, auxiliary=True), "segmenter", 5, None),
    "labels": (label_map, "segmenter", 5, None),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_recognised_and_answers_as_before(tmp_path: Path, family: str) -> None:
    make, head, classes, names = FAMILIES[family]
    path = saved(make(), tmp_path)
    adoption = adopt(path, None, AdoptOptions(classes=names))
    assert adoption.recognition.split(": ")[0] == f"head {head}"
    assert len(adoption.spec.classes) == classes
    assert_alike(path, adoption)


@pytest.mark.parametrize("family", ["rt-detr", "yolo-nas", "masks", "logits at a quarter"])
@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_a_camera_frame_is_scaled_in_the_graph(tmp_path: Path, family: str, fit: str) -> None:
    path = saved(FAMILIES[family][0](), tmp_path)
    options = AdoptOptions(frame_wh=(160, 90), fit="letterbox" if fit == "letterbox" else "stretch")
    adoption = adopt(path, None, options)
    assert adoption.spec.frames.size_wh == (160, 90)
    assert_alike(path, adoption)


def test_only_where_both_fit_the_user_chooses(tmp_path: Path) -> None:
    """Twelve logits without names: eleven classes and no object, or twelve classes."""
    path = saved(queries(12, select=False), tmp_path)
    with pytest.raises(AmbiguousHeadError) as caught:
        adopt(path)
    assert "\n  detr-imagenet: " in str(caught.value)
    assert "\n  detr-softmax: " in str(caught.value)
    assert len(adopt(path, "detr-imagenet").spec.classes) == 12
    assert len(adopt(path, "detr-softmax").spec.classes) == 11


WRONG = [
    ("rt-detr", "yolov8"),
    ("rt-detr", "classifier"),
    ("yolov6", "detr"),
    ("ssd", "efficient-nms"),
    ("nanodet", "picodet"),
    ("masks", "segmenter"),
    ("paddle", "yolov7-e2e"),
    ("logits at a quarter", "yolo-nas"),
]


@pytest.mark.parametrize(("family", "head"), WRONG)
def test_a_wrong_head_is_refused(tmp_path: Path, family: str, head: str) -> None:
    make, _, _, names = FAMILIES[family]
    with pytest.raises(GraphError, match=f"do not match head '{head}'"):
        adopt(saved(make(), tmp_path), head, AdoptOptions(classes=names))


@pytest.mark.parametrize(
    ("make", "head"), [(networks.end2end, "rt-detr-finished"), (finished_queries, "end2end")]
)
def test_units_of_another_head_are_not_plausible(
    tmp_path: Path, make: Callable[[], onnx.ModelProto], head: str
) -> None:
    """Shapes are equal; pixels as fractions lie far outside, and fractions as pixels in one corner."""
    path = saved(make(), tmp_path)
    adoption = adopt(path, head, AdoptOptions(classes=("a", "b", "c")))
    with pytest.raises(GraphError, match="try another head"):
        source_answers(path, adoption, frames_for(adoption))


def test_labels_count_their_classes(tmp_path: Path) -> None:
    """An index over queries and classes modulo the number of classes, as D-FINE's export computes labels."""
    m = Maker(17)
    value = rows_of(m, 4 + 6)
    flat = m("Reshape", m("Sigmoid", m.cut(value, 4, 10, 2)), np.array([0, -1]))
    m.nodes.append(onnx.helper.make_node("TopK", [flat, m.weight(np.array([25]))], ["best", "at"], axis=1))
    labels = m("Mod", "at", np.array(6))
    at = m("Unsqueeze", m("Div", "at", np.array(6)), np.array([2]))
    boxes = m("GatherND", corner_boxes(m, value), at, batch_dims=1)
    outputs = {
        "labels": (labels, TensorProto.INT64, [1, 25]),
        "boxes": (boxes, 1, [1, 25, 4]),
        "scores": ("best", 1, [1, 25]),
    }
    path = saved(m.model(outputs), tmp_path)  # type: ignore[arg-type]
    adoption = adopt(path)
    assert len(adoption.spec.classes) == 6
    assert_alike(path, adoption)
    with pytest.raises(GraphError, match="labels are computed for 6 classes, but there are 2 class names"):
        adopt(path, None, AdoptOptions(classes=("a", "b")))


def test_the_names_of_metadata_choose_too(tmp_path: Path) -> None:
    path = saved(with_metadata(queries(4, select=False), labels='["a", "b", "c"]'), tmp_path)
    assert adopt(path).recognition.startswith("head detr-softmax: ")
