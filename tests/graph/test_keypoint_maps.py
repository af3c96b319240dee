"""Files of top-down pose networks are refused by name, and segmenters of similar shapes are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgevision.errors import GraphError
from edgevision.graph.adopt import AdoptOptions, adopt
from tests.graph.networks import Array


def maps(count: int, size_wh: tuple[int, int], name: str = "output", stride: int = 4) -> onnx.ModelProto:
    """A heatmap of each channel."""
    weight = np.random.default_rng(0).normal(0, 1, (count, 3, stride, stride)).astype(np.float32)
    node = helper.make_node("Conv", ["image", "w"], [name], strides=[stride] * 2, kernel_shape=[stride] * 2)
    return made(
        [node], {"w": weight}, size_wh, {name: [1, count, size_wh[1] // stride, size_wh[0] // stride]}
    )


def vectors(count: int, size_wh: tuple[int, int], factor: int = 2) -> onnx.ModelProto:
    """SimCC's two outputs."""
    weights, nodes, outputs = {}, [], {}
    nodes.append(helper.make_node("ReduceMean", ["image"], ["m"], axes=[2, 3], keepdims=0))
    for axis, side in zip("xy", size_wh, strict=True):
        weights[axis] = np.ones((3, count * side * factor), np.float32)
        weights[f"shape_{axis}"] = np.array([1, count, side * factor], np.int64)
        nodes.append(helper.make_node("MatMul", ["m", axis], [f"long_{axis}"]))
        nodes.append(helper.make_node("Reshape", [f"long_{axis}", f"shape_{axis}"], [f"simcc_{axis}"]))
        outputs[f"simcc_{axis}"] = [1, count, side * factor]
    return made(nodes, weights, size_wh, outputs)


def made(
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    size_wh: tuple[int, int],
    outputs: dict[str, list[int]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "pose",
        [helper.make_tensor_value_info("image", 1, [1, 3, size_wh[1], size_wh[0]])],
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


HEATMAPS = {
    "COCO": maps(17, (192, 256)),
    "large": maps(17, (288, 384)),
    "whole body": maps(133, (288, 384)),
    "MPII": maps(16, (256, 256)),
    "named": maps(5, (128, 128), "heatmaps"),
    "SimCC": vectors(17, (192, 256)),
}


@pytest.mark.parametrize("name", HEATMAPS)
def test_a_top_down_network_is_refused_by_name(tmp_path: Path, name: str) -> None:
    onnx.save(HEATMAPS[name], tmp_path / "pose.onnx")
    with pytest.raises(GraphError, match="of a top-down pose network, which takes the crop of one person"):
        adopt(tmp_path / "pose.onnx")


SEGMENTERS = {
    "19 classes at a quarter": (maps(19, (512, 256)), None),
    "150 classes at a quarter": (maps(150, (128, 128)), None),
    "21 classes in a square": (maps(21, (256, 256)), None),
    "17 maps of half the size": (maps(17, (192, 256), stride=2), None),
    "named classes": (maps(17, (192, 256)), tuple(map(str, range(17)))),
}


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenter_is_still_one(tmp_path: Path, name: str) -> None:
    model, classes = SEGMENTERS[name]
    onnx.save(model, tmp_path / "segment.onnx")
    options = AdoptOptions(classes=classes)
    assert adopt(tmp_path / "segment.onnx", options=options).recognition.startswith("head segmenter: ")


def test_the_user_may_insist(tmp_path: Path) -> None:
    onnx.save(HEATMAPS["COCO"], tmp_path / "segment.onnx")
    assert adopt(tmp_path / "segment.onnx", "segmenter").spec.task == "segment"
