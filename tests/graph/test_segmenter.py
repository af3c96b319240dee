"""A segmenter's graph: the class of each pixel of the frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgevision.contract.image import LetterboxGeometry, letterbox
from edgevision.contract.spec import BatchRange, FrameInput
from edgevision.errors import GraphError
from edgevision.graph.graft import graft_segmenter
from edgevision.graph.preprocess import PixelFormat

SIZE_WH = (64, 32)
Array = npt.NDArray[np.uint8]


def network(batch: int | str = 1, answer: str = "Identity") -> onnx.ModelProto:
    """Logits are the channels: the class of a pixel is its brightest colour."""
    width, height = SIZE_WH
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, height, width])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(answer, ["x"], ["y"])], "g", [value], [out])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def run(model: onnx.ModelProto, frames: Array) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"frames": frames})[0], np.uint8)


def picture(width: int, height: int) -> Array:
    """Blue, green and red blobs, BGR."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 3, (height // 8 + 1, width // 8 + 1))
    labels = np.kron(coarse, np.ones((8, 8), np.int64))[:height, :width]
    return np.asarray(np.eye(3, dtype=np.uint8)[labels] * 200, np.uint8)


def test_the_best_class_of_each_pixel() -> None:
    frames = FrameInput(SIZE_WH, batch=BatchRange(1, 1, 2))
    model = graft_segmenter(network("n"), pixels=PixelFormat("bgr"), frames=frames, network_size_wh=SIZE_WH)
    image = picture(*SIZE_WH)
    mask = run(model, np.stack([image, image[::-1]]))
    assert np.array_equal(mask[0], image.argmax(2))
    assert np.array_equal(mask[1], image[::-1].argmax(2))


@pytest.mark.parametrize("frame_wh", [(128, 64), (64, 64), (50, 33), (200, 60)])
def test_a_mask_of_a_camera_frame_equals_the_inverse_letterboxed_mask(frame_wh: tuple[int, int]) -> None:
    frames = FrameInput(frame_wh, "exact")
    model = graft_segmenter(network(), pixels=PixelFormat("bgr"), frames=frames, network_size_wh=SIZE_WH)
    image = picture(*frame_wh)
    mask = run(model, image[None])[0]
    assert mask.shape == (frame_wh[1], frame_wh[0])
    fitted, placement = letterbox(image.astype(np.float32), SIZE_WH)
    assert placement == LetterboxGeometry.of(frame_wh, SIZE_WH).placement
    expected = placement.frame_from_input_mask(fitted.argmax(2).astype(np.uint8))
    assert np.mean(mask != expected) < 0.002


@pytest.mark.parametrize("frame_wh", [SIZE_WH, (128, 64)])
def test_the_mask_becomes_uint8_from_float32_alone(frame_wh: tuple[int, int]) -> None:
    """TensorRT converts neither int32 nor int64 to uint8 (NvInferRuntimeBase.h, kUINT8, of 8.6 to 11.1)."""
    frames = FrameInput(frame_wh, "exact")
    model = graft_segmenter(network(), pixels=PixelFormat("bgr"), frames=frames, network_size_wh=SIZE_WH)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    last = next(node for node in inferred.node if "mask" in node.output)
    assert (last.op_type, types[last.input[0]]) == ("Cast", TensorProto.FLOAT)


def test_all_256_classes_survive_float32() -> None:
    width, height = 16, 16
    frames = FrameInput((width, height))
    weights = np.zeros((256, 3, 1, 1), np.float32)
    weights[:, 0, 0, 0] = 2 * np.arange(256)  # 2 c x - c^2 is largest where c is x
    bias = -(np.arange(256, dtype=np.float32) ** 2)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, height, width])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 256, height, width])
    stored = [onnx.numpy_helper.from_array(array, name) for array, name in ((weights, "w"), (bias, "b"))]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"])], "g", [value], [out], initializer=stored
    )
    bare = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model = graft_segmenter(
        bare, pixels=PixelFormat("bgr", scale=1.0), frames=frames, network_size_wh=(width, height)
    )
    image = np.zeros((1, height, width, 3), np.uint8)
    image[0, :, :, 0] = np.arange(256).reshape(height, width)
    assert np.array_equal(run(model, image)[0], image[0, :, :, 0])


def test_what_cannot_be_a_segmenter() -> None:
    frames = FrameInput(SIZE_WH)
    for kind in ("GlobalAveragePool", "Flatten"):
        with pytest.raises(GraphError, match=r"one output, float32 \[B, C, 32, 64\]; received y"):
            graft_segmenter(
                network(answer=kind), pixels=PixelFormat(), frames=frames, network_size_wh=SIZE_WH
            )
    with pytest.raises(GraphError, match="expected 'letterbox' or 'stretch' for a segmenter"):
        graft_segmenter(
            network(), pixels=PixelFormat(), frames=frames, network_size_wh=SIZE_WH, network_fit="center-crop"
        )
