"""Inputs of other exporters: NHWC order, second inputs; the finished graph answers as the unmodified file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.contract.spec import BatchRange
from edgevision.errors import GraphError
from edgevision.graph.adopt import Adoption, AdoptOptions, adopt
from edgevision.graph.preprocess import PixelFormat
from edgevision.graph.reference import source_answers
from edgevision.verification.comparison import compare_answers
from tests.graph import networks, odd_networks
from tests.graph.networks import Array, Maker

SIZE_WH = networks.SIZE_WH


def frames_for(adoption: Adoption, count: int = 2) -> Array:
    width, height = adoption.spec.frames.size_wh
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), np.uint8)


def answers(adoption: Adoption, frames: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(
        adoption.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    size = adoption.spec.frames.batch.opt
    parts = [session.run(None, {"frames": frames[i : i + size]}) for i in range(0, len(frames), size)]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def assert_alike(path: Path, adoption: Adoption) -> None:
    """The finished graph and the unmodified file, decoded in numpy, agree on random frames, and find something."""
    frames = frames_for(adoption)
    expected, actual = source_answers(path, adoption, frames), answers(adoption, frames)
    assert [array.shape for array in expected] == [array.shape for array in actual]
    for check in compare_answers(adoption.spec, expected, tuple(actual), "float"):
        assert check.passed, check
    if adoption.spec.nms is not None:
        assert (expected[1] > 0.05).sum() > 3
        assert np.abs(expected[1] - actual[1]).max() < 1e-4


def nhwc_classifier(height: int | str = 64, *, softmax: bool = True, dtype: int = 1) -> onnx.ModelProto:
    """Three classes by the mean colours of the three channels; Keras' order."""
    rng = np.random.default_rng(0)
    weights: dict[str, Array] = {
        "w": rng.normal(0, 4, (3, 3)).astype(np.float32),
        "perm": np.array([1, 2], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=1),
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["l"]),
        helper.make_node("Softmax" if softmax else "Identity", ["l"], ["dense"]),
    ]
    graph = helper.make_graph(
        nodes,
        "keras",
        [helper.make_tensor_value_info("image", dtype, ["n", height, 96, 3])],
        [helper.make_tensor_value_info("dense", 1, ["n", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "theirs.onnx")
    return folder / "theirs.onnx"


@pytest.mark.parametrize("softmax", [True, False])
def test_an_nhwc_input_gets_a_transpose(tmp_path: Path, softmax: bool) -> None:
    path = saved(nhwc_classifier(softmax=softmax), tmp_path)
    adoption = adopt(path)
    assert adoption.network_size_wh == (96, 64)
    assert sum(node.op_type == "Softmax" for node in adoption.model.graph.node) == 1
    assert_alike(path, adoption)


def test_a_dynamic_nhwc_input_needs_a_size(tmp_path: Path) -> None:
    path = saved(nhwc_classifier("h"), tmp_path)
    with pytest.raises(GraphError, match="choose a size with --size"):
        adopt(path)
    assert_alike(path, adopt(path, None, AdoptOptions(size_wh=(96, 48), batch=BatchRange(1, 2, 4))))


def probability_map(values: int = 1, *, logits: bool = False) -> onnx.ModelProto:
    """A map of the input's size, as Paddle exports segmentation of text or roads."""
    m = Maker(13)
    small = m.conv(values, 2)
    up = m("ConvTranspose", small, np.ones((values, values, 2, 2), np.float32), strides=[2, 2])
    return m.model({"fetch_name_0": (up if logits else m("Sigmoid", up), 1, [1, values, None, None])})


def test_a_probability_map_is_two_classes_at_one_half(tmp_path: Path) -> None:
    path = saved(probability_map(), tmp_path)
    adoption = adopt(path, None, AdoptOptions(classes=("rest", "text")))
    assert adoption.recognition.startswith("head segmenter: one output [1, 1, 64, 96], 2 classes")
    assert (adoption.spec.task, adoption.spec.classes) == ("segment", ("rest", "text"))
    assert_alike(path, adoption)
    frames = frames_for(adoption)
    share = answers(adoption, frames)[0].mean()
    assert 0.2 < share < 0.8


def test_a_map_without_sigmoid_needs_the_user_s_word(tmp_path: Path) -> None:
    path = saved(probability_map(logits=True), tmp_path)
    with pytest.raises(GraphError, match="segmenter: the only channel does not come from a Sigmoid"):
        adopt(path)
    assert adopt(path, "segmenter").recognition.startswith("head segmenter")


def with_sizes(kind: int, batch: int | str, name: str = "orig_target_sizes") -> onnx.ModelProto:
    """Finished boxes as fractions of the image, times a second input of width and height."""
    m = Maker(17)
    boxes, scores, labels = networks._finished(m, 20, (1, 1))
    sizes = m("Concat", *[m("Cast", name, to=1)] * 2, axis=1)
    boxes = m("Mul", boxes, m("Unsqueeze", sizes, np.array([1])))
    labels = m("Cast", labels, to=TensorProto.INT64)
    model = m.model(
        {
            "labels": (labels, TensorProto.INT64, [batch, 20]),
            "boxes": (boxes, 1, [batch, 20, 4]),
            "scores": (scores, 1, [batch, 20]),
        },
        batch,
    )
    model.graph.input.append(helper.make_tensor_value_info(name, kind, [batch, 2]))
    return model


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.FLOAT])
@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_a_second_input_of_sizes_is_bound(tmp_path: Path, kind: int, batch: int | str) -> None:
    path = saved(with_sizes(kind, batch), tmp_path)
    options = AdoptOptions(classes=("yes", "no"), batch=BatchRange(1, 2, 3) if batch == "n" else None)
    adoption = adopt(path, None, options)
    assert [value.name for value in adoption.model.graph.input] == ["frames"]
    frames = frames_for(adoption)
    boxes = answers(adoption, frames)[0]
    assert boxes[..., 2].max() > 60  # pixels of an input of 96x64
    assert_alike(path, adoption)


def test_another_second_input_is_refused(tmp_path: Path) -> None:
    path = saved(with_sizes(TensorProto.FLOAT, 1, "temperature"), tmp_path)
    with pytest.raises(
        GraphError, match=r"2 inputs \(images .*; temperature .*beside it only orig_target_sizes"
    ):
        adopt(path)


@pytest.mark.parametrize("file", ["keras_nhwc_cls", "paddle_cls", "paddle_seg_map"])
def test_files_of_other_exporters(data_dir: Path, file: str) -> None:
    path = data_dir / "adopt" / f"{file}.onnx"
    adoption = adopt(path, None, AdoptOptions(size_wh=None if file == "keras_nhwc_cls" else (192, 48)))
    assert "(assumed: ImageNet's, because the file states none; --mean" in adoption.pixel_choice
    assert adoption.spec.provenance.pixels == adoption.pixel_choice
    assert_alike(path, adoption)


def test_the_user_s_pixels_are_recorded(tmp_path: Path) -> None:
    path = saved(odd_networks.pooled((1, 3, 64, 96), (1, 3)), tmp_path)
    adoption = adopt(path, None, AdoptOptions(pixels=PixelFormat("bgr", 1.0)))
    assert adoption.spec.provenance.pixels == "BGR, value (as chosen)"


def test_the_number_of_class_names_that_excludes_a_head_is_named(tmp_path: Path) -> None:
    path = saved(networks.yolov8(), tmp_path)
    with pytest.raises(GraphError) as caught:
        adopt(path, None, AdoptOptions(classes=("a", "b", "c", "d")))
    assert "\n  yolov8: the outputs have 3 classes, but there are 4 class names\n" in str(caught.value)
    with pytest.raises(GraphError, match="yolov8: the outputs have 3 classes, but there are 4 class names"):
        adopt(path, "yolov8", AdoptOptions(classes=("a", "b", "c", "d")))
