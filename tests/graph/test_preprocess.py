"""The network's input equals that of its training, whether host or graph scales the frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgevision.contract.image import fit_frame, letterbox
from edgevision.contract.spec import BatchRange, Fit, FrameInput
from edgevision.errors import GraphError
from edgevision.graph.contract import check_graph
from edgevision.graph.preprocess import PixelFormat, graft_preprocess
from edgevision.graph.resample import area_matrix, bilinear_matrix
from tests.rtx import build_rtx_engine, inspected_rtx_engine

Array = np.ndarray[Any, Any]
Run = Callable[..., list[Array]]

IMAGENET = PixelFormat("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
RAW = PixelFormat("bgr", 1.0)


def network(
    size_wh: tuple[int, int], nodes: list[onnx.NodeProto], elem_type: int = 1, **weights: Array
) -> onnx.ModelProto:
    """A network from ``images`` to ``seen``."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", elem_type, ["n", 3, size_wh[1], size_wh[0]])],
        [helper.make_tensor_value_info("seen", elem_type, [None] * 4)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def window(size_wh: tuple[int, int], elem_type: int = 1) -> onnx.ModelProto:
    """A network that answers what it sees."""
    return network(size_wh, [helper.make_node("Identity", ["images"], ["seen"])], elem_type)


def convolution(rng: np.random.Generator, **attributes: Any) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["seen"], pads=[2, 2, 2, 2], strides=[2, 2], **attributes)
    ]
    return network((40, 24), nodes, w=rng.normal(0, 0.1, (8, 3, 6, 6)).astype(np.float32))


def grafted(
    model: onnx.ModelProto,
    *,
    pixels: PixelFormat,
    frames: FrameInput,
    size_wh: tuple[int, int],
    fit: Fit = "letterbox",
) -> onnx.ModelProto:
    graft_preprocess(model, pixels=pixels, frames=frames, network_size_wh=size_wh, network_fit=fit)
    check_graph(model)
    return model


def frames_of(rng: np.random.Generator, size_wh: tuple[int, int], count: int = 1) -> Array:
    return rng.integers(0, 256, (count, size_wh[1], size_wh[0], 3), np.uint8)


def normalised(frames: Array, pixels: PixelFormat) -> Array:
    values = frames.astype(np.float64)[..., ::-1] if pixels.order == "rgb" else frames.astype(np.float64)
    return ((values * pixels.scale - pixels.mean) / pixels.std).transpose(0, 3, 1, 2)


@pytest.mark.parametrize(
    "pixels", [PixelFormat(), RAW, IMAGENET, PixelFormat("bgr", 1 / 128, (1.0, 0.9, 0.8), (0.5, 0.25, 2.0))]
)
def test_a_network_sees_normalised_pixels(run_ort: Run, pixels: PixelFormat) -> None:
    frames = frames_of(np.random.default_rng(0), (20, 12), 3)
    spec = FrameInput((20, 12), batch=BatchRange(1, 1, 4))
    model = grafted(window((20, 12)), pixels=pixels, frames=spec, size_wh=(20, 12))
    assert np.abs(run_ort(model, {"frames": frames})[0] - normalised(frames, pixels)).max() < 2e-6


@pytest.mark.parametrize("pixels", [PixelFormat(), RAW, IMAGENET])
def test_folding_into_a_padded_convolution_changes_nothing(run_ort: Run, pixels: PixelFormat) -> None:
    rng = np.random.default_rng(1)
    model = convolution(rng)
    frames = frames_of(rng, (40, 24), 2)
    seen = normalised(frames, pixels).astype(np.float32)
    expected = run_ort(model, {"images": seen})[0]
    spec = FrameInput((40, 24), batch=BatchRange(1, 1, 4))
    model = grafted(model, pixels=pixels, frames=spec, size_wh=(40, 24))
    operators = [node.op_type for node in model.graph.node]
    assert operators == ["Cast", "Transpose", *(["Sub"] if any(pixels.mean) else []), "Conv"]
    assert [t.name for t in model.graph.initializer if t.name == "w"] == []
    actual = run_ort(model, {"frames": frames})[0]
    assert np.abs(actual - expected).max() / np.abs(expected).max() < 1e-6


def test_weights_that_others_share_are_left_as_they_are(run_ort: Run) -> None:
    rng = np.random.default_rng(2)
    shared = helper.make_node("Conv", ["images", "w"], ["a"], pads=[2, 2, 2, 2])
    nodes = [
        shared,
        helper.make_node("ReduceSum", ["w"], ["total"]),
        helper.make_node("Mul", ["a", "total"], ["seen"]),
    ]
    model = network((40, 24), nodes, w=rng.normal(0, 0.1, (8, 3, 6, 6)).astype(np.float32))
    frames = frames_of(rng, (40, 24))
    expected = run_ort(model, {"images": normalised(frames, PixelFormat()).astype(np.float32)})[0]
    model = grafted(model, pixels=PixelFormat(), frames=FrameInput((40, 24)), size_wh=(40, 24))
    assert np.abs(run_ort(model, {"frames": frames})[0] - expected).max() / np.abs(expected).max() < 1e-6


@pytest.mark.parametrize("reader", ["Relu", "grouped", "computed"])
def test_whatever_else_reads_the_input_is_given_normalised_pixels(run_ort: Run, reader: str) -> None:
    rng = np.random.default_rng(3)
    weights = rng.normal(0, 0.1, (6, 3, 3, 3)).astype(np.float32)
    convolved = helper.make_node("Conv", ["images", "w"], ["seen"])
    nodes = {
        "Relu": [convolved, helper.make_node("Relu", ["images"], ["unused"])],
        "grouped": [helper.make_node("Conv", ["images", "w"], ["seen"], group=3)],
        "computed": [helper.make_node("Neg", ["v"], ["w"]), convolved],
    }[reader]
    weights = weights[:, :1] if reader == "grouped" else weights
    model = network((16, 16), nodes, 1, **{"v" if reader == "computed" else "w": weights})
    frames = frames_of(rng, (16, 16))
    expected = run_ort(model, {"images": normalised(frames, PixelFormat()).astype(np.float32)})[0]
    model = grafted(model, pixels=PixelFormat(), frames=FrameInput((16, 16)), size_wh=(16, 16))
    assert np.abs(run_ort(model, {"frames": frames})[0] - expected).max() < 1e-5


def test_a_network_in_half_precision_gets_half_precision(run_ort: Run) -> None:
    frames = frames_of(np.random.default_rng(4), (16, 8))
    model = grafted(window((16, 8), 10), pixels=PixelFormat(), frames=FrameInput((16, 8)), size_wh=(16, 8))
    seen = run_ort(model, {"frames": frames})[0]
    assert seen.dtype == np.float16
    assert np.abs(seen - normalised(frames, PixelFormat())).max() < 1e-3


SIZES = [
    (640, 360),
    (360, 640),
    (100, 100),
    (333, 77),
    (96, 64),
    (1, 1),
    (1, 50),
    (50, 1),
    (97, 64),
    (192, 128),
    (45, 31),
    (500, 499),
    (1280, 720),
]


@pytest.mark.parametrize("frame_wh", SIZES)
def test_the_letterbox_in_the_graph_is_the_host_s(
    run_ort: Run, run_openvino: Run, frame_wh: tuple[int, int]
) -> None:
    """cv2 rounds to whole levels, with weights of 11 bits; the graph does not: within one level of 255."""
    frames = frames_of(np.random.default_rng(5), frame_wh)
    model = grafted(window((96, 64)), pixels=RAW, frames=FrameInput(frame_wh, "exact"), size_wh=(96, 64))
    seen = run_ort(model, {"frames": frames})[0][0].transpose(1, 2, 0)
    assert seen.shape == (64, 96, 3)
    host, _ = letterbox(frames[0], (96, 64))
    assert np.abs(seen - host).max() <= 1.0
    assert np.abs(seen - reference_letterbox(frames[0], (96, 64))).max() < 0.02
    assert np.abs(run_openvino(model, {"frames": frames})[0][0].transpose(1, 2, 0) - seen).max() < 0.02


def reference_letterbox(image: Array, size_wh: tuple[int, int]) -> Array:
    """Bilinear, half-pixel centres, centred on 114, in float64."""
    ratio = min(size_wh[0] / image.shape[1], size_wh[1] / image.shape[0])
    width, height = (max(1, round(side * ratio)) for side in (image.shape[1], image.shape[0]))
    rows = sampling(image.shape[0], height)
    columns = sampling(image.shape[1], width)
    canvas = np.full((size_wh[1], size_wh[0], 3), 114.0)
    left, top = (size_wh[0] - width) // 2, (size_wh[1] - height) // 2
    canvas[top : top + height, left : left + width] = np.einsum(
        "yh,hwc,xw->yxc", rows, image.astype(float), columns, optimize=True
    )
    return canvas


def sampling(source: int, target: int) -> Array:
    """Row i holds the weight of each source pixel in target pixel i."""
    matrix = np.zeros((target, source))
    for i in range(target):
        place = (i + 0.5) * source / target - 0.5
        low = int(np.floor(place))
        for pixel, weight in ((low, 1 - (place - low)), (low + 1, place - low)):
            matrix[i, min(max(pixel, 0), source - 1)] += weight
    return matrix


@pytest.mark.parametrize(
    ("frame_wh", "operators"),
    [
        ((288, 144), ["Cast", "Slice", "Transpose", "Pad"]),
        ((192, 128), ["Cast", "Slice", "Slice", "Add", "Slice", "Slice", "Add", "Mul", "Transpose"]),
        ((384, 200), ["Cast", *["Slice", "Slice", "Add"] * 2, "Mul", "Transpose", "Pad"]),
    ],
)
def test_whole_ratios_are_exact(run_ort: Run, frame_wh: tuple[int, int], operators: list[str]) -> None:
    frames = frames_of(np.random.default_rng(7), frame_wh)
    model = grafted(window((96, 64)), pixels=RAW, frames=FrameInput(frame_wh, "exact"), size_wh=(96, 64))
    assert [node.op_type for node in model.graph.node] == [*operators, "Identity"]
    seen = run_ort(model, {"frames": frames})[0][0].transpose(1, 2, 0)
    assert np.array_equal(seen, reference_letterbox(frames[0], (96, 64)))
    if frame_wh == (288, 144):
        assert np.array_equal(seen[8:56], frames[0, 1::3, 1::3])


@pytest.mark.parametrize("frame_wh", [(288, 192), (192, 128), (500, 499), (1280, 720), (97, 64), (60, 40)])
def test_only_the_cast_has_the_size_of_the_camera(frame_wh: tuple[int, int]) -> None:
    """TensorRT computes what follows the Cast in the same kernel; no other operation needs the whole frame."""
    spec = FrameInput(frame_wh, "exact", batch=BatchRange(1, 1, 1))
    model = grafted(window((96, 64)), pixels=RAW, frames=spec, size_wh=(96, 64))
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    sizes = {
        value.name: math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in inferred.value_info
    }
    largest = max(3 * 96 * 64, 3 * frame_wh[0] * min(64, frame_wh[1] - 1))
    for node in inferred.node[1:]:
        assert all(sizes[name] <= largest for name in node.output if name in sizes), node.name


def test_a_strip_is_cropped_without_its_whole_matrix(run_ort: Run) -> None:
    """Scaled whole, the strip has 960,000 columns: a matrix of 0.5 TB."""
    frames = frames_of(np.random.default_rng(8), (60000, 2))
    spec = FrameInput((60000, 2), "exact", crop_fraction=0.75)
    model = grafted(window((32, 24)), pixels=RAW, frames=spec, size_wh=(32, 24), fit="center-crop")
    assert len(model.SerializeToString()) < 20_000
    seen = run_ort(model, {"frames": frames})[0][0].transpose(1, 2, 0)
    host, _ = fit_frame(frames[0], FrameInput((32, 24), "center-crop", crop_fraction=0.75))
    assert np.abs(seen - host).max() <= 1.0


@pytest.mark.parametrize("source", [1, 2, 7, 100])
@pytest.mark.parametrize("target", [1, 3, 8, 130])
def test_the_bilinear_matrix_is_the_reference(source: int, target: int) -> None:
    assert np.abs(bilinear_matrix(source, target) - sampling(source, target)).max() < 1e-6


def test_an_area_matrix_averages_what_a_pixel_covers() -> None:
    assert np.allclose(area_matrix(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    assert np.allclose(area_matrix(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])


@pytest.mark.parametrize("fit", ["center-crop", "stretch"])
@pytest.mark.parametrize(
    "frame_wh", [(640, 360), (360, 640), (48, 40), (300, 200), (33, 77), (31, 20), (768, 576)]
)
def test_scaling_in_the_graph_is_the_host_s(run_ort: Run, fit: Fit, frame_wh: tuple[int, int]) -> None:
    frames = frames_of(np.random.default_rng(6), frame_wh, 2)
    spec = FrameInput(frame_wh, "exact", crop_fraction=0.875, batch=BatchRange(1, 2, 2))
    model = grafted(window((32, 24)), pixels=RAW, frames=spec, size_wh=(32, 24), fit=fit)
    seen = run_ort(model, {"frames": frames})[0]
    for row, frame in enumerate(frames):
        host, _ = fit_frame(frame, FrameInput((32, 24), fit, crop_fraction=0.875))
        assert np.abs(seen[row].transpose(1, 2, 0) - host).max() <= 1.0


def test_frames_of_another_size_are_scaled_only_if_the_spec_allows_it() -> None:
    with pytest.raises(GraphError, match="exact"):
        grafted(window((32, 32)), pixels=RAW, frames=FrameInput((64, 64)), size_wh=(32, 32))


def test_a_frame_that_shrinks_one_way_and_grows_the_other_is_refused() -> None:
    with pytest.raises(GraphError, match="300x10"):
        grafted(
            window((32, 32)),
            pixels=RAW,
            frames=FrameInput((300, 10), "exact"),
            size_wh=(32, 32),
            fit="stretch",
        )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (window((64, 32)), r"images is FLOAT.*expected float32 or float16 \[B, 3, 32, 32\]"),
        (window((32, 32), 9), "images is BOOL"),
        (network((32, 32), [helper.make_node("Identity", ["w"], ["seen"])], w=np.zeros(3, np.float32)), None),
    ],
)
def test_an_input_that_is_no_image_of_that_size_is_refused(
    model: onnx.ModelProto, message: str | None
) -> None:
    if message is None:
        model.graph.input.append(helper.make_tensor_value_info("second", 1, [1]))
        message = "2 inputs .*images.*second"
    with pytest.raises(GraphError, match=message):
        graft_preprocess(model, pixels=RAW, frames=FrameInput((32, 32)), network_size_wh=(32, 32))


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_pixels_are_checked(scale: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        PixelFormat(scale=scale)


@pytest.mark.parametrize("fit", ["letterbox", "center-crop", "stretch"])
@pytest.mark.slow
def test_tensorrt_rtx_builds_the_scaling_of_a_camera_frame(fit: Fit) -> None:
    spec = FrameInput((1920, 1080), "exact", batch=BatchRange(1, 2, 4))
    model = grafted(window((640, 640)), pixels=IMAGENET, frames=spec, size_wh=(640, 640), fit=fit)
    build_rtx_engine(
        model.SerializeToString(), {"frames": ((1, 1080, 1920, 3), (2, 1080, 1920, 3), (4, 1080, 1920, 3))}
    )


@pytest.mark.slow
@pytest.mark.parametrize("frame_wh", [(1920, 1080), (1280, 720), (1000, 700)])
def test_the_letterbox_of_camera_frames_is_one_kernel_in_tensorrt_rtx(frame_wh: tuple[int, int]) -> None:
    """One kernel reads the frame; the network follows, of one convolution, whose output is stored by another kernel."""
    rng = np.random.default_rng(9)
    nodes = [helper.make_node("Conv", ["images", "w"], ["seen"], strides=[16, 16], name="network")]
    model = network((640, 640), nodes, w=rng.normal(0, 0.1, (8, 3, 4, 4)).astype(np.float32))
    spec = FrameInput(frame_wh, "exact")
    model = grafted(model, pixels=PixelFormat(), frames=spec, size_wh=(640, 640))
    layers = inspected_rtx_engine(model.SerializeToString()).layers
    assert layers[("kgen", "UInt8")] == 1
    assert layers.total() <= 3, layers
