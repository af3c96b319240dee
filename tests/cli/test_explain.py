"""`edgevision explain` on a graph that looks at one patch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import helper

from edgevision.bundle.folder import Golden, write_bundle
from edgevision.cli.commands.explain import command
from edgevision.contract.spec import METADATA_KEY, FrameInput, ModelSpec, NmsSpec, Provenance, detect_outputs
from edgevision.errors import SourceError, UsageError

SIDE = 64
PATCH = (36, 12, 52, 28)


@pytest.fixture(scope="module")
def patch_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of one "lamp": its box and its score are those of `PATCH`, and nothing else is looked at."""
    spec = ModelSpec(
        "lamps",
        "detect",
        FrameInput((SIDE, SIDE)),
        detect_outputs(1),
        ("lamp", "car"),
        Provenance("none", None, "test", "2026-01-01T00:00:00+00:00"),
        NmsSpec(candidates=1, max_detections=1),
    )
    left, top, right, bottom = PATCH
    constants: dict[str, npt.NDArray[Any]] = {
        "starts": np.array([top, left], np.int64),
        "ends": np.array([bottom, right], np.int64),
        "axes": np.array([1, 2], np.int64),
        "white": np.array([255], np.float32),
        "constant_boxes": np.array([[PATCH]], np.float32),
        "constant_labels": np.zeros((1, 1), np.int32),
        "score_shape": np.array([1, 1], np.int64),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["frames"], ["pixels"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Slice", ["pixels", "starts", "ends", "axes"], ["patch"]),
            helper.make_node("ReduceMean", ["patch"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Div", ["mean", "white"], ["level"]),
            helper.make_node("Reshape", ["level", "score_shape"], ["scores"]),
            helper.make_node("Identity", ["constant_boxes"], ["boxes"]),
            helper.make_node("Identity", ["constant_labels"], ["labels"]),
        ],
        "lamps",
        [helper.make_tensor_value_info("frames", onnx.TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, [1, 1, 4]),
            helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, 1]),
            helper.make_tensor_value_info("labels", onnx.TensorProto.INT32, [1, 1]),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    answers = (constants["constant_boxes"], np.zeros((1, 1), np.float32), constants["constant_labels"])
    path = tmp_path_factory.mktemp("model") / "lamps"
    write_bundle(
        path, spec, model.SerializeToString(), Golden(np.zeros((1, SIDE, SIDE, 3), np.uint8), answers)
    )
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Dark noise, ten times the input's size, with the lamp lit."""
    frame = np.random.default_rng(3).integers(0, 60, (640, 640, 3)).astype(np.uint8)
    left, top, right, bottom = (10 * value for value in PATCH)
    frame[top:bottom, left:right] = 255
    path = tmp_path / "lamp.png"
    cv2.imwrite(str(path), frame)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_patch_is_the_reason(patch_bundle: Path, image: Path, tmp_path: Path, engine: str) -> None:
    pytest.importorskip(engine)
    output = tmp_path / "heat.png"
    result = run(patch_bundle, image, "-o", output, "--masks", 300, "--engine", engine)
    assert result.exit_code == 0, result.exception
    ran, first, inside, tried, written = result.stdout.splitlines()
    assert ran.startswith(f"lamps, float graph, {engine} ")
    assert first == "lamp at 360,120,520,280: score 1.000"
    assert int(inside.split("box: ")[1].split(" %")[0]) > 50
    assert "(the box is 6 % of the image)" in inside
    whole, hidden, random, alone = (float(part.rpartition(" ")[2]) for part in tried.split(";"))
    assert whole == pytest.approx(1, abs=0.01)
    assert hidden < 0.3
    assert random > 0.6
    assert alone == pytest.approx(1, abs=0.05)
    assert written == f"wrote {output}"
    picture = np.asarray(cv2.imread(str(output))).astype(np.int64)
    colour = np.ptp(picture[:640], axis=2)
    y, x = np.unravel_index(np.argmax(cv2.blur(colour.astype(np.float32), (31, 31))), colour.shape)
    assert 360 <= x < 520
    assert 120 <= y < 280
    assert colour[400:, :300].max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "1"], "0 detections of score 1 or more"),
        (["--class", "car"], "0 detections of class car"),
        (["--class", "dog"], "has no class 'dog'; its classes: lamp, car"),
        (["--index", "1"], "no index 1"),
    ],
)
def test_unexplainable_results_are_refused(
    patch_bundle: Path, image: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    frame = np.asarray(cv2.imread(str(image)))
    frame[200:210] = 0
    cv2.imwrite(str(image), frame)
    result = run(patch_bundle, image, "-o", tmp_path / "heat.png", *options)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)
    assert not (tmp_path / "heat.png").exists()


def test_outputs_and_images_are_checked_before_the_work(
    patch_bundle: Path, image: Path, tmp_path: Path
) -> None:
    for output, message in ((tmp_path / "heat.mp4", "must end in .png"), (image, "is the input image")):
        result = run(patch_bundle, image, "-o", output)
        assert isinstance(result.exception, UsageError)
        assert message in str(result.exception)
    result = run(patch_bundle, tmp_path / "none.png", "-o", tmp_path / "heat.png")
    assert isinstance(result.exception, SourceError)
