"""Heads are recognised from the file alone; what cannot be recognised is one clear error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgevision.errors import GraphError
from edgevision.export.adoption import adopt_bundle
from edgevision.graph.adopt import AdoptOptions, adopt
from edgevision.graph.conventions import HEADS
from edgevision.graph.foreign.metadata import LONGEST_TEXT, FileMetadata
from edgevision.graph.foreign.recognition import AmbiguousHeadError
from edgevision.graph.heads.head import boxes_per_cell
from tests.graph import networks, odd_networks
from tests.graph.networks import Maker

NAMES = ("cat", "dog", "eel")
DATA = Path(os.environ.get("EDGEVISION_DATA", Path(__file__).parents[3] / "shared" / "data"))
FILES = sorted(
    str(path.relative_to(DATA))
    for folder in ("adopt", "detr", "ultralytics", "weights")
    for path in (DATA / folder).glob("*.onnx")
)
REAL = {
    "weights/yolox_nano.onnx": "head yolox: one output [1, 3549, 85], 80 classes; not yolov5: boxes are not decoded",
    "ultralytics/yolov8n-seg.raw.onnx": "head yolov8-seg: 2 outputs output0 [1, 116, 2100], output1 [1, 32, 80, 80],"
    " 80 classes",
    "detr/rtdetr.onnx": "head detr: 2 outputs logits [1, 100, 20], boxes [1, 100, 4], 20 classes",
    "detr/dfine.post.onnx": "head end2end: 3 outputs labels [1, 100], boxes [1, 100, 4], scores [1, 100], 20 classes",
    "adopt/picodet_small.onnx": "head picodet: 8 outputs transpose_0.tmp_0 [1, 1280, 5], transpose_2.tmp_0 [1, 320, 5],"
    " transpose_4.tmp_0 [1, 80, 5], transpose_6.tmp_0 [1, 20, 5], ..., 5 classes",
    "weights/FastestDet.onnx": "head fastestdet: one output [1, 85, 22, 22], 80 classes",
    "ultralytics/yolo11n-obb.raw.onnx": "head yolov8-obb: one output [1, 20, 2100], 15 classes",
    "ultralytics/yolo11n-pose.raw.onnx": "head yolov8-pose: one output [1, 56, 2100], 1 class",
    "ultralytics/yolo26n.e2e.onnx": "head end2end: one output [1, 300, 6], 80 classes",
}
"""Files that are recognised, with the printed line."""


def saved(model: onnx.ModelProto, folder: Path, name: str = "theirs") -> Path:
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def yolov5(*, anchors: int = 3, classes: int = 3) -> onnx.ModelProto:
    """`networks.yolov5` with as many boxes for each cell as its authors have."""
    m = Maker(17)
    value = m("Concat", *[m.columns(5 + classes) for _ in range(anchors)], axis=2)
    scores = m("Sigmoid", m.cut(value, 4, 5 + classes))
    rows = m("Transpose", m("Concat", m.boxes(value), scores, axis=1), perm=[0, 2, 1])
    return m.model({"output0": (rows, 1, [1, None, 5 + classes])})


def raw_yolox(classes: int = 3) -> onnx.ModelProto:
    """YOLOX as its authors export it: boxes leave the last convolution as they are."""
    m = Maker(17, 255.0)
    value = m.columns(5 + classes)
    scores = m("Sigmoid", m.cut(value, 4, 5 + classes))
    rows = m("Transpose", m("Concat", m.cut(value, 0, 4), scores, axis=1), perm=[0, 2, 1])
    return m.model({"output": (rows, 1, [1, None, 5 + classes])})


def three_values() -> onnx.ModelProto:
    """The shapes of `networks.yolov8`, with a third value for each box, such as key points."""
    m = Maker(17)
    value = m.columns(10)
    parts = (m.boxes(value), m("Sigmoid", m.cut(value, 4, 5)), m.cut(value, 5, 10))
    return m.model({"output0": (m("Concat", *parts, axis=1), 1, [1, 10, None])})


def segmenter() -> onnx.ModelProto:
    """One map of class scores at an eighth of the input's size, the shape of FastestDet."""
    m = Maker(17)
    return m.model({"out": (m("Softmax", m.conv(19, 8), axis=1), 1, [1, 19, 8, 12])})


def embedding() -> onnx.ModelProto:
    m = Maker(17)
    values = m("Flatten", m("GlobalAveragePool", m.conv(32, 8)), axis=1)
    return m.model({"embedding": (values, 1, [1, 32])})


RECOGNISED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "yolov5": (yolov5, "head yolov5: one output [1, 378, 8], 3 classes"),
    "one class": (
        lambda: yolov5(classes=1),
        "head yolov5: one output [1, 378, 6], 1 class; not end2end: 378 rows are all boxes of a network of 96x64",
    ),
    "yolov8": (networks.yolov8, "head yolov8: one output [1, 7, 126], 3 classes"),
    "yolox": (
        raw_yolox,
        "head yolox: one output [1, 126, 8], 3 classes; not yolov5: boxes are not decoded",
    ),
    "decoded yolox": (
        lambda: networks.yolox(decoded=True),
        "head yolox: one output [1, 126, 8], 3 classes; not yolov5: boxes are decoded by exponentials",
    ),
    "fastestdet": (networks.fastestdet, "head fastestdet: one output [1, 8, 8, 12], 3 classes"),
    "segmenter": (segmenter, "head segmenter: one output [1, 19, 8, 12], 19 classes"),
    "classifier": (networks.classifier, "head classifier: one output [1, 3], 3 classes"),
    "dynamic batch": (lambda: networks.yolov8(batch="n"), "head yolov8: one output [1, 7, 126], 3 classes"),
}


@pytest.mark.parametrize("kind", RECOGNISED)
def test_a_head_is_recognised(tmp_path: Path, kind: str) -> None:
    make, line = RECOGNISED[kind]
    adoption = adopt(saved(make(), tmp_path))
    assert adoption.recognition == line
    assert adoption.spec.provenance.recipe == f"adopted: {line.split()[1].rstrip(':')}"


@pytest.mark.parametrize("make", [networks.end2end, networks.end2end_apart])
def test_finished_boxes_are_recognised(tmp_path: Path, make: Callable[[], onnx.ModelProto]) -> None:
    path = saved(make(), tmp_path)
    with pytest.raises(GraphError, match=r"head end2end: .*unknown number of classes.*--class-names FILE"):
        adopt(path)
    adoption = adopt(path, None, AdoptOptions(classes=("yes", "no")))
    assert adoption.recognition.startswith("head end2end: ")
    assert adoption.recognition.endswith(", 2 classes")
    assert "network/" not in adoption.recognition


def test_a_chosen_head_in_doubt_is_refused_if_another_one_fits(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "weights" / "yolox_nano.onnx"
    with pytest.raises(
        GraphError, match=r"has the head 'yolox', not 'rt-detr-rows': the network selects no queries"
    ):
        adopt_bundle(path, "rt-detr-rows", AdoptOptions(), None, tmp_path / "wrong", lambda _: None)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("make", [networks.yolox, networks.yolov5])
def test_several_heads_ask_for_a_choice(tmp_path: Path, make: Callable[[], onnx.ModelProto]) -> None:
    path = saved(make(), tmp_path)
    with pytest.raises(AmbiguousHeadError) as caught:
        adopt(path)
    message = str(caught.value)
    assert message.startswith("2 heads fit theirs.onnx; choose one with --head HEAD:\n")
    for head in ("yolov5", "yolox"):
        assert f"\n  {head}: one output [1, 126, 8], 3 classes (one output [B, N, 5+C]" in message
        assert adopt(path, head).recognition.startswith(f"head {head}: ")


@pytest.mark.parametrize(
    ("make", "head", "message"),
    [
        (three_values, "yolov8", "yolov8: the output joins 3 values"),
        (embedding, "classifier", "classifier: the output is an embedding"),
    ],
)
def test_a_doubtful_head_needs_the_user_s_word(
    tmp_path: Path, make: Callable[[], onnx.ModelProto], head: str, message: str
) -> None:
    path = saved(make(), tmp_path)
    with pytest.raises(GraphError, match="no head fits") as caught:
        adopt(path)
    assert message in str(caught.value)
    assert adopt(path, head).recognition.startswith(f"head {head}: ")


def line_or_refusal(path: Path, head: str | None = None) -> tuple[str, str]:
    """The recognition and the error, one of them empty; any other error is the test's failure."""
    try:
        return adopt(path, head).recognition, ""
    except GraphError as error:
        return "", str(error)


@pytest.mark.parametrize("file", FILES or ["absent"])
def test_every_real_file_is_recognised_or_refused(data_dir: Path, file: str) -> None:
    line, refusal = line_or_refusal(data_dir / file)
    assert bool(line) != bool(refusal)
    if file in REAL:
        assert line == REAL[file]


@pytest.mark.parametrize("file", ["ultralytics/yolo11n-obb.raw.onnx", "ultralytics/yolo11n-pose.raw.onnx"])
def test_poses_and_oriented_boxes_need_no_metadata(data_dir: Path, tmp_path: Path, file: str) -> None:
    model = onnx.load(data_dir / file)
    del model.metadata_props[:]
    adoption = adopt(saved(model, tmp_path))
    assert adoption.recognition.startswith(REAL[file])
    assert adoption.spec.task == ("obb" if "obb" in file else "pose")


def test_a_classifier_of_paddle_needs_only_its_size(data_dir: Path) -> None:
    path = data_dir / "adopt" / "paddle_cls.onnx"
    with pytest.raises(GraphError, match="choose a size with --size"):
        adopt(path)
    adoption = adopt(path, None, AdoptOptions(size_wh=(192, 48)))
    assert adoption.recognition == "head classifier: one output [1, 2], 2 classes"


@pytest.mark.parametrize("kind", odd_networks.ADOPTED)
def test_odd_dimensions_are_dynamic(tmp_path: Path, kind: str) -> None:
    model = odd_networks.ADOPTED[kind]()
    onnx.checker.check_model(model)
    adoption = adopt(saved(model, tmp_path), None, AdoptOptions(size_wh=(96, 64)))
    assert adoption.recognition == "head classifier: one output [1, 3], 3 classes"


@pytest.mark.parametrize("kind", odd_networks.REFUSED)
def test_odd_networks_are_refused(tmp_path: Path, kind: str) -> None:
    make, message = odd_networks.REFUSED[kind]
    model = make()
    onnx.checker.check_model(model)
    path = saved(model, tmp_path)
    with pytest.raises(GraphError, match=message):
        adopt(path)
    for head in HEADS:
        assert any(line_or_refusal(path, head))


def with_open_size(**entries: str) -> onnx.ModelProto:
    return networks.with_metadata(odd_networks.pooled((1, 3, "h", "w"), (1, 3)), **entries)


@pytest.mark.parametrize(
    ("text", "expected"), [("[48, 80]", (80, 48)), ("(48, 80)", (80, 48)), ("64", (64, 64))]
)
def test_a_dynamic_size_is_read_from_the_metadata(
    tmp_path: Path, text: str, expected: tuple[int, int]
) -> None:
    path = saved(with_open_size(imgsz=text), tmp_path)
    assert adopt(path).network_size_wh == expected
    assert adopt(path, None, AdoptOptions(size_wh=(32, 40))).network_size_wh == (32, 40)


def test_a_static_size_is_not_the_metadata_s(tmp_path: Path) -> None:
    path = saved(networks.with_metadata(networks.classifier(), imgsz="[640, 640]"), tmp_path)
    assert adopt(path).network_size_wh == networks.SIZE_WH


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "[0, 64]",
            "[-1, 64]",
            "[64]",
            "[64, 64, 3]",
            "[True, True]",
            "['a', 'b']",
            "1e3",
            "{}",
            "\x00",
        ],
        *["9" * 5000, "[" * 50_000, "-" * 100_000 + "1", "1+" * 100_000 + "1", "64 " * LONGEST_TEXT],
    ],
    ids=lambda text: repr(text)[:20],
)
def test_a_size_that_cannot_be_meant_is_ignored(tmp_path: Path, text: str) -> None:
    with pytest.raises(GraphError, match="choose a size with --size WxH"):
        adopt(saved(with_open_size(imgsz=text), tmp_path))


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("names", "{0: 'cat', 1: 'dog', 2: 'eel'}", NAMES),
        ("names", "{2: 'eel', 0: 'cat', 1: 'dog'}", NAMES),
        ("names", '{"0": "cat", "1": "dog", "2": "eel"}', NAMES),
        ("names", r"['a\d', '[[[[[[', '+-+-+-+-']", (r"a\d", "[[[[[[", "+-+-+-+-")),
        ("labels", '["cat", "dog", "eel"]', NAMES),
        ("character", "cat\ndog\neel\n", NAMES),
        ("character", "0\n1\n2\n", None),
        ("character", "", None),
        ("names", "{0: 'cat', 'x': 'dog', 2: 'eel'}", None),
        ("names", "{[]: 'cat'}", None),
        ("names", "['cat', 1, 'eel']", None),
        ("names", "['cat', '', 'eel']", None),
        ("names", "['cat', '\\x1b[2J', 'eel']", None),
        ("names", "__import__('os').abort()", None),
        ("names", "[" * 100_000, None),
        ("names", "['a'" + "+'a'" * 100_000 + "]", None),
        ("names", f"['{'x' * LONGEST_TEXT}']", None),
        ("names", str(["x"] * 70_000), None),
        ("names", "{" + "0: 'a', " * 10 + "}", ("a",)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_class_names_are_read_from_the_metadata(
    key: str, text: str, expected: tuple[str, ...] | None
) -> None:
    model = networks.with_metadata(networks.yolov8(), **{key: text})
    assert FileMetadata.of(model).classes == expected


@pytest.mark.parametrize("task", ["", "x" * 10_000, "\x1b[2J"], ids=["empty", "long", "control"])
def test_a_task_that_cannot_be_meant_is_ignored(tmp_path: Path, task: str) -> None:
    path = saved(networks.with_metadata(networks.yolov8(), task=task), tmp_path)
    assert adopt(path).recognition.startswith("head yolov8: ")


@pytest.mark.parametrize(
    ("size_wh", "rows", "expected"),
    [
        ((640, 640), 8400, 1),
        ((640, 640), 25200, 3),
        ((1280, 1280), 102_000, 3),
        ((640, 640), 34_000, 1),
        ((416, 416), 3549, 1),
        ((300, 300), 1444 + 361 + 100, 1),
        ((640, 640), 300, None),
        ((640, 640), 0, None),
        ((2, 2), 0, None),
    ],
)
def test_boxes_of_each_cell(size_wh: tuple[int, int], rows: int, expected: int | None) -> None:
    assert boxes_per_cell(size_wh, rows) == expected


def test_a_float16_output_is_recognised(tmp_path: Path) -> None:
    m = Maker(17)
    scores = m("Cast", m("Flatten", m("GlobalAveragePool", m.conv(3, 8)), axis=1), to=10)
    path = saved(m.model({"y": (scores, 10, [1, 3])}), tmp_path)
    adoption = adopt(path)
    assert adoption.recognition == "head classifier: one output [1, 3], 3 classes"
    assert adoption.spec.outputs[0].dtype == np.dtype(np.float32).name


def test_more_classes_than_supported_are_named(tmp_path: Path) -> None:
    """With names, and as a classifier's length of a file without names."""
    names = tuple(map(str, range(70_000)))
    path = saved(networks.classifier(), tmp_path)
    with pytest.raises(
        GraphError, match="there are 70,000 class names; at most 65,536 classes are supported"
    ):
        adopt(path, options=AdoptOptions(classes=names))
    m = Maker(17)
    value = m("Expand", m("Flatten", m("GlobalAveragePool", m.conv(1, 8))), np.array([1, 70_000]))
    wide = saved(m.model({"out": (value, 1, [1, 70_000])}), tmp_path, "wide")
    with pytest.raises(
        GraphError, match="As a classifier it has 70,000 classes; at most 65,536 are supported"
    ):
        adopt(wide)
