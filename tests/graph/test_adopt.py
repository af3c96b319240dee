"""Adopted third-party ONNX gives the same results as before, from camera frames and in the contract's shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

from edgevision.contract.spec import BatchRange, NmsSpec
from edgevision.errors import GraphError
from edgevision.graph.adopt import Adoption, AdoptOptions, adopt
from edgevision.graph.coco import COCO_CLASSES
from edgevision.graph.contract import read_spec
from edgevision.graph.preprocess import PixelFormat
from edgevision.graph.reference import source_answers
from tests.graph import networks
from tests.graph.networks import SIZE_WH

Array = np.ndarray[Any, Any]
Run = Callable[..., list[Array]]

NMS = NmsSpec(candidates=400, max_detections=40, iou_threshold=0.5, score_floor=0.05, depth=10)
NAMES = ("cat", "dog", "eel")


def saved(model: onnx.ModelProto, folder: Path, name: str = "theirs") -> Path:
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def some_frames(size_wh: tuple[int, int], count: int, seed: int = 0) -> Array:
    """Smooth images, like those of cameras."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        frames.append(cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC))
    return np.stack(frames)


def answers_of(path: Path, adoption: Adoption, frames: Array) -> list[Array]:
    return [np.asarray(array) for array in source_answers(path, adoption, frames)]


def assert_answers_as_before(run: Run, path: Path, adoption: Adoption, frames: Array) -> None:
    expected = answers_of(path, adoption, frames)
    actual = run(adoption.model, {"frames": frames})
    assert len(actual) == len(expected)
    for left, right in zip(actual, expected, strict=True):
        assert left.dtype == right.dtype
        assert left.shape == right.shape
    if adoption.head is None:
        assert np.abs(actual[0] - expected[0]).max() < 1e-5
        return
    assert (expected[1] > 0).sum() >= 5 * len(frames)
    assert np.abs(actual[1] - expected[1]).max() < 1e-4
    assert np.array_equal(actual[2], expected[2])
    assert np.abs(actual[0] - expected[0]).max() < 0.01


@pytest.mark.parametrize("head", networks.DETECTORS)
@pytest.mark.parametrize("frame_wh", [None, (128, 72)])
def test_an_adopted_detector_has_unchanged_results(
    run_ort: Run, tmp_path: Path, head: str, frame_wh: tuple[int, int] | None
) -> None:
    path = saved(networks.DETECTORS[head](), tmp_path)
    adoption = adopt(path, head, AdoptOptions(nms=NMS, frame_wh=frame_wh, classes=NAMES))
    assert_answers_as_before(run_ort, path, adoption, some_frames(frame_wh or SIZE_WH, 1))
    assert read_spec(adoption.model) == adoption.spec
    assert adoption.spec.frames.size_wh == (frame_wh or SIZE_WH)
    assert adoption.spec.classes == NAMES
    assert adoption.spec.provenance.source == "theirs.onnx"
    assert adoption.spec.provenance.recipe == f"adopted: {head}"


@pytest.mark.parametrize("make", [networks.end2end, networks.end2end_apart])
@pytest.mark.parametrize("frame_wh", [None, (128, 72)])
def test_finished_boxes_are_passed_on(
    run_ort: Run, tmp_path: Path, make: Callable[..., onnx.ModelProto], frame_wh: tuple[int, int] | None
) -> None:
    path = saved(make(), tmp_path)
    adoption = adopt(path, "end2end", AdoptOptions(nms=NMS, frame_wh=frame_wh, classes=("yes", "no")))
    assert_answers_as_before(run_ort, path, adoption, some_frames(frame_wh or SIZE_WH, 1))


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("frame_wh", [None, (128, 72)])
def test_an_adopted_classifier_returns_probabilities(
    run_ort: Run, tmp_path: Path, softmax: bool, frame_wh: tuple[int, int] | None
) -> None:
    path = saved(networks.classifier(softmax=softmax), tmp_path)
    adoption = adopt(path, "classifier", AdoptOptions(frame_wh=frame_wh))
    frames = some_frames(frame_wh or SIZE_WH, 1)
    assert_answers_as_before(run_ort, path, adoption, frames)
    scores = run_ort(adoption.model, {"frames": frames})[0]
    assert scores.sum() == pytest.approx(1, abs=1e-5)
    assert scores.max() - scores.min() > 0.05
    assert [n.op_type for n in adoption.model.graph.node].count("Softmax") == 1
    assert adoption.spec.classes == ("0", "1", "2")
    assert adoption.spec.frames.fit == ("exact" if frame_wh else "center-crop")


@pytest.mark.parametrize("head", [*networks.DETECTORS, "end2end", "classifier"])
def test_a_dynamic_batch_stays_dynamic_and_its_rows_are_each_other_s_equals(
    run_ort: Run, tmp_path: Path, head: str
) -> None:
    others: dict[str, Callable[..., onnx.ModelProto]] = {
        "end2end": networks.end2end,
        "classifier": networks.classifier,
    }
    make = {**networks.DETECTORS, **others}[head]
    path = saved(make(batch="n"), tmp_path)
    classes = NAMES if head != "end2end" else ("yes", "no")
    adoption = adopt(path, head, AdoptOptions(nms=NMS, batch=BatchRange(1, 2, 4), classes=classes))
    frames = some_frames(SIZE_WH, 3)
    assert_answers_as_before(run_ort, path, adoption, frames)
    frames[1] = frames[2]
    outputs = run_ort(adoption.model, {"frames": frames})
    alone = run_ort(adoption.model, {"frames": frames[2:]})
    for array, single in zip(outputs, alone, strict=True):
        assert np.array_equal(array[1], array[2])
        assert np.allclose(array[2], single[0], atol=1e-3)


@pytest.mark.parametrize(
    ("theirs", "asked", "expected"), [("n", None, 1), ("n", 3, 3), (2, None, 2), (2, 2, 2)]
)
def test_a_static_batch_is_the_file_s_or_the_user_s(
    run_ort: Run, tmp_path: Path, theirs: int | str, asked: int | None, expected: int
) -> None:
    path = saved(networks.yolov8(batch=theirs), tmp_path)
    batch = None if asked is None else BatchRange(asked, asked, asked)
    adoption = adopt(path, "yolov8", AdoptOptions(nms=NMS, batch=batch))
    assert adoption.spec.frames.batch == BatchRange(expected, expected, expected)
    assert_answers_as_before(run_ort, path, adoption, some_frames(SIZE_WH, expected))


def test_a_static_network_is_not_given_another_batch(tmp_path: Path) -> None:
    path = saved(networks.yolov8(batch=2), tmp_path)
    with pytest.raises(GraphError, match="made for batches of 2, not 1:2:4"):
        adopt(path, "yolov8", AdoptOptions(batch=BatchRange(1, 2, 4)))


@pytest.mark.parametrize("opset", [13, 16, 18, 20])
@pytest.mark.parametrize("head", networks.DETECTORS)
def test_other_opsets_have_equal_results(run_ort: Run, tmp_path: Path, head: str, opset: int) -> None:
    path = saved(networks.DETECTORS[head](opset=opset), tmp_path)
    adoption = adopt(path, head, AdoptOptions(nms=NMS))
    assert_answers_as_before(run_ort, path, adoption, some_frames(SIZE_WH, 1))


@pytest.mark.parametrize("opset", [5, 21, 99])
def test_an_opset_that_is_too_old_or_too_new_is_refused(tmp_path: Path, opset: int) -> None:
    model = networks.yolov8()
    model.opset_import[0].version = opset
    with pytest.raises(GraphError, match=rf"opset {opset}; expected 9 to 20; export it with opset 17"):
        adopt(saved(model, tmp_path), "yolov8")


def test_operators_of_one_runtime_are_refused_by_name(tmp_path: Path) -> None:
    model = networks.yolov8()
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(GraphError, match=r"com\.microsoft"):
        adopt(saved(model, tmp_path), "yolov8")


def test_a_network_of_any_size_needs_a_size(run_ort: Run, tmp_path: Path) -> None:
    model = networks.yolov8()
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"
    path = saved(model, tmp_path)
    with pytest.raises(GraphError, match="--size"):
        adopt(path, "yolov8")
    adoption = adopt(path, "yolov8", AdoptOptions(nms=NMS, size_wh=SIZE_WH))
    assert_answers_as_before(run_ort, path, adoption, some_frames(SIZE_WH, 1))


def test_a_network_of_one_size_is_not_given_another(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="expected the network's size 96x64; received 64x64"):
        adopt(saved(networks.yolov8(), tmp_path), "yolov8", AdoptOptions(size_wh=(64, 64)))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("{0: 'cat', 1: 'dog', 2: 'eel'}", NAMES),
        ("['cat', 'dog', 'eel']", NAMES),
        ("{0: 'cat', 2: 'eel'}", ("0", "1", "2")),
        ("__import__('os').abort()", ("0", "1", "2")),
        ("", ("0", "1", "2")),
    ],
)
def test_class_names_are_read_from_the_metadata(
    tmp_path: Path, names: str, expected: tuple[str, ...]
) -> None:
    path = saved(networks.with_metadata(networks.yolov8(), names=names), tmp_path)
    assert adopt(path, "yolov8").spec.classes == expected


def test_user_class_names_take_precedence_and_80_classes_default_to_coco(tmp_path: Path) -> None:
    model = networks.with_metadata(networks.yolov8(), names="['cat', 'dog', 'eel']")
    mine = ("a", "b", "c")
    assert adopt(saved(model, tmp_path), "yolov8", AdoptOptions(classes=mine)).spec.classes == mine
    assert adopt(saved(networks.yolov8(80), tmp_path), "yolov8").spec.classes == COCO_CLASSES


def test_another_number_of_class_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="names 2 classes"):
        adopt(saved(networks.yolov8(), tmp_path), "yolov8", AdoptOptions(classes=("a", "b")))
    with pytest.raises(GraphError, match="names 2 classes"):
        adopt(saved(networks.classifier(), tmp_path), "classifier", AdoptOptions(classes=("a", "b")))


def test_finished_boxes_need_class_names(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="--class-names"):
        adopt(saved(networks.end2end(), tmp_path), "end2end")


def test_errors_on_unknown_heads_and_outputs_list_the_supported_ones(tmp_path: Path) -> None:
    path = saved(networks.fastestdet(), tmp_path)
    for head in ("yolov5", "ssd"):
        with pytest.raises(GraphError) as caught:
            adopt(path, head)
        for known in ("yolov5", "yolov8", "yolox", "fastestdet", "end2end", "classifier"):
            assert f"  {known}: " in str(caught.value)
    with pytest.raises(GraphError, match=r"(?s)758 float32 \[1, 8, 8, 12\].*match these shapes: fastestdet"):
        adopt(path, "yolov5")


@pytest.mark.parametrize(
    ("task", "head"), [("segment", "yolov8"), ("classify", "yolov8"), ("detect", "classifier")]
)
def test_a_task_that_the_file_names_is_believed(tmp_path: Path, task: str, head: str) -> None:
    model = networks.yolov8() if head == "yolov8" else networks.classifier()
    path = saved(networks.with_metadata(model, task=task), tmp_path)
    with pytest.raises(GraphError, match=f"The task in the file is '{task}'"):
        adopt(path, head)


def test_ultralytics_classifiers_see_plain_pixels_and_the_whole_shorter_side(tmp_path: Path) -> None:
    path = saved(networks.with_metadata(networks.classifier(), task="classify"), tmp_path)
    adoption = adopt(path, "classifier")
    assert adoption.pixels == PixelFormat("rgb")
    assert adoption.spec.frames.crop_fraction == 1.0


def test_user_pixel_format_and_fit_take_precedence(run_ort: Run, tmp_path: Path) -> None:
    path = saved(networks.yolov8(), tmp_path)
    pixels = PixelFormat("bgr", 1 / 128, (1.0, 1.0, 1.0), (1.0, 0.5, 1.0))
    options = AdoptOptions(nms=NMS, pixels=pixels, fit="stretch", frame_wh=(128, 128))
    adoption = adopt(path, "yolov8", options)
    assert (adoption.pixels, adoption.fit) == (pixels, "stretch")
    assert_answers_as_before(run_ort, path, adoption, some_frames((128, 128), 1))


def test_a_detector_is_not_given_a_cut_frame(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="center-crop"):
        adopt(saved(networks.yolov8(), tmp_path), "yolov8", AdoptOptions(fit="center-crop"))


def test_names_of_the_contract_inside_the_file_do_no_harm(run_ort: Run, tmp_path: Path) -> None:
    model = networks.end2end_apart()
    model.graph.input[0].name = "frames"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = {"images": "frames", "v3": "nms.scores"}.get(name, name)
        for index, name in enumerate(node.output):
            node.output[index] = {"v3": "nms.scores"}.get(name, name)
        node.name = "post/" + node.name
    path = saved(model, tmp_path)
    adoption = adopt(path, "end2end", AdoptOptions(nms=NMS, classes=("yes", "no")))
    assert_answers_as_before(run_ort, path, adoption, some_frames(SIZE_WH, 1))


def test_weights_that_are_listed_as_inputs_are_weights(run_ort: Run, tmp_path: Path) -> None:
    """As files of IR version 3 have it."""
    model = networks.yolov8()
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    path = saved(model, tmp_path)
    adoption = adopt(path, "yolov8", AdoptOptions(nms=NMS))
    assert_answers_as_before(run_ort, path, adoption, some_frames(SIZE_WH, 1))


def test_a_file_of_local_functions_is_written_out(run_ort: Run, tmp_path: Path) -> None:
    model = networks.yolov8()
    sigmoid = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    body = [helper.make_node("Sigmoid", ["x"], ["y"])]
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("theirs", "Squash", ["x"], ["y"], body, imports))
    model.opset_import.append(helper.make_opsetid("theirs", 1))
    sigmoid.op_type, sigmoid.domain = "Squash", "theirs"
    path = saved(model, tmp_path)
    adoption = adopt(path, "yolov8", AdoptOptions(nms=NMS))
    assert not adoption.model.functions
    assert_answers_as_before(run_ort, path, adoption, some_frames(SIZE_WH, 1))


def test_an_adopted_file_is_not_adopted_again(tmp_path: Path) -> None:
    adoption = adopt(saved(networks.yolov8(), tmp_path), "yolov8")
    with pytest.raises(GraphError, match="already"):
        adopt(saved(adoption.model, tmp_path, "ours"), "yolov8")


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=r"broken\.onnx is not an ONNX file"):
        adopt(path, "yolov8")


def test_a_model_that_is_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(networks.yolov8(), tmp_path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(GraphError, match=r"theirs\.onnx"):
        adopt(path, "yolov8")


def test_a_file_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="nowhere"):
        adopt(tmp_path / "nowhere.onnx", "yolov8")


@pytest.mark.parametrize(
    ("make", "head", "message"),
    [
        # Shapes fit, values do not.
        (lambda: networks.yolox(), "yolov5", "cover the image"),
        (lambda: networks.fractions(), "yolov8", "cover the image"),
        (lambda: networks.logits(), "yolov8", "may be logits"),
        (lambda: networks.end2end(fractions=True), "end2end", "cover the image"),
    ],
)
def test_values_that_cannot_be_the_head_s_are_refused(
    tmp_path: Path, make: Callable[[], onnx.ModelProto], head: str, message: str
) -> None:
    path = saved(make(), tmp_path)
    options = AdoptOptions(nms=NMS, pixels=PixelFormat("bgr", 1.0), classes=NAMES)
    if head == "end2end":
        options = AdoptOptions(nms=NMS, classes=("yes", "no"))
    adoption = adopt(path, head, options)
    with pytest.raises(GraphError, match=message):
        source_answers(path, adoption, some_frames(SIZE_WH, 1))
