"""Image-to-image networks of other exporters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgevision.contract.results import Translation
from edgevision.engines.opening import open_session
from edgevision.errors import GraphError
from edgevision.export.adoption import adopt_bundle
from edgevision.graph.adopt import AdoptOptions, adopt

SIDE = (48, 64)
"""Height and width of the inputs."""


def network(path: Path, factor: int, *, gain: float = 1.0, offset: float = 0.0) -> Path:
    """Repeats each pixel `factor` times along both axes; values become ``gain * value + offset``."""
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["m"]),
        helper.make_node("Add", ["m", "offset"], ["a"]),
        helper.make_node(
            "Resize",
            ["a", "", "scales"],
            ["y"],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
    ]
    constants = [
        helper.make_tensor("gain", TensorProto.FLOAT, [], [gain]),
        helper.make_tensor("offset", TensorProto.FLOAT, [], [offset]),
        helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, factor, factor]),
    ]
    height, width = SIDE
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, height * factor, width * factor])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def quiet(_: str) -> None:
    """Progress that is discarded."""


@pytest.mark.parametrize("factor", [2, 4])
def test_a_larger_image_is_recognised(factor: int, tmp_path: Path) -> None:
    said: list[str] = []
    file = network(tmp_path / "sr.onnx", factor)
    bundle = adopt_bundle(file, None, AdoptOptions(), None, tmp_path / "b", said.append)
    assert f"head image: one output [1, 3, {48 * factor}, {64 * factor}], {factor} times the input" in said[0]
    assert "assumed for input and output" in said[1]
    assert bundle.spec.task == "translate"
    assert bundle.spec.frames.fit == "exact"
    frame = np.random.default_rng(0).integers(0, 256, (*SIDE, 3), np.uint8)
    with open_session(bundle.path, engine="openvino") as session:
        (result,) = session([frame])
    assert isinstance(result, Translation)
    assert np.array_equal(result.image, frame.repeat(factor, 0).repeat(factor, 1))


def test_an_image_of_the_input_s_size_must_be_chosen(tmp_path: Path) -> None:
    """Three channels may be classes as well."""
    file = network(tmp_path / "style.onnx", 1, gain=-1.0, offset=1.0)
    with pytest.raises(GraphError, match="image: three channels at the input's size may be classes"):
        adopt(file)
    bundle = adopt_bundle(file, "image", AdoptOptions(), None, tmp_path / "b", quiet)
    frame = np.full((30, 64, 3), (10, 20, 30), np.uint8)
    with open_session(bundle.path, engine="onnxruntime") as session:
        (result,) = session([frame])
    assert isinstance(result, Translation)
    assert result.size_wh == (64, 30)  # without the letterbox's padding
    assert tuple(result.image[0, 0]) == (245, 235, 225)


def test_values_of_another_range_are_errors(tmp_path: Path) -> None:
    file = network(tmp_path / "levels.onnx", 2, gain=255.0)
    with pytest.raises(
        GraphError, match=r"levels.onnx: the image's values are .* For values 0 to 255 use --scale 1"
    ):
        adopt_bundle(file, None, AdoptOptions(), None, tmp_path / "b", quiet)
    assert not (tmp_path / "b").exists()


def test_the_head_does_not_fit_other_outputs(tmp_path: Path) -> None:
    file = network(tmp_path / "sr.onnx", 2)
    with pytest.raises(GraphError, match="segmenter"):
        adopt(file, "segmenter")
