"""The graph converts and scales nv12 frames as the float64 reference does, in every engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from edgevision.contract.nv12 import KINDS, Nv12Parts
from edgevision.contract.pixels import WEIGHTS, YuvColour
from edgevision.contract.spec import BatchRange, Fit, FrameInput
from edgevision.graph.preprocess import PixelFormat
from edgevision.graph.resample import nv12_pixels
from tests.graph.test_preprocess import IMAGENET, RAW, convolution, grafted, window
from tests.rtx import build_rtx_engine

Array = np.ndarray[Any, Any]
Run = Callable[..., list[Array]]
CASES: list[tuple[tuple[int, int], tuple[int, int], Fit]] = [
    ((40, 24), (40, 24), "letterbox"),
    ((64, 48), (40, 24), "letterbox"),
    ((80, 48), (40, 24), "letterbox"),
    ((120, 72), (40, 24), "letterbox"),
    ((30, 50), (40, 24), "letterbox"),
    ((120, 90), (64, 32), "stretch"),
    ((300, 90), (32, 32), "stretch"),
    ((120, 90), (32, 32), "center-crop"),
    ((64, 20), (32, 32), "center-crop"),
]


def spec_of(size_wh: tuple[int, int], batch: BatchRange) -> FrameInput:
    return FrameInput(size_wh, "exact", crop_fraction=0.875, batch=batch, layout="nv12")


def frames_of(rng: np.random.Generator, target: FrameInput, colours: tuple[YuvColour, ...]) -> Array:
    frames = rng.integers(0, 256, (len(colours), *target.frame_shape), np.uint8)
    for frame, colour in zip(frames, colours, strict=True):
        Nv12Parts.of(frame).set_colour(colour)
    return frames


@pytest.mark.parametrize("batch", [BatchRange(4, 4, 4), BatchRange(1, 2, 4)], ids=str)
@pytest.mark.parametrize(("size_wh", "network_wh", "fit"), CASES, ids=str)
def test_the_graph_equals_the_reference(
    run_ort: Run,
    run_openvino: Run,
    size_wh: tuple[int, int],
    network_wh: tuple[int, int],
    fit: Fit,
    batch: BatchRange,
) -> None:
    target = spec_of(size_wh, batch)
    frames = frames_of(np.random.default_rng(0), target, KINDS)
    model = grafted(window(network_wh), pixels=RAW, frames=target, size_wh=network_wh, fit=fit)
    expected = nv12_pixels(frames, target, network_wh, fit).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(run_ort(model, {"frames": frames})[0], expected, atol=1e-3)
    np.testing.assert_allclose(run_openvino(model, {"frames": frames})[0], expected, atol=1e-3)


def test_each_frame_of_a_batch_has_its_own_colour(run_ort: Run) -> None:
    """All matrices; numbers of none count as unspecified, and a last row of zeros as well."""
    numbers = [*WEIGHTS, 0, 3, 8, 10, 11, 255]
    target = spec_of((8, 6), BatchRange(1, 1, 64))
    frames = np.full((2 * len(numbers), *target.frame_shape), 150, np.uint8)
    frames[:, -1, 0] = numbers * 2
    frames[:, -1, 1] = [0] * len(numbers) + [1] * (len(numbers) - 1) + [255]
    model = grafted(window((8, 6)), pixels=RAW, frames=target, size_wh=(8, 6))
    seen = run_ort(model, {"frames": frames})[0]
    for row, pixels in enumerate(seen):
        number = numbers[row % len(numbers)]
        colour = YuvColour(number if number in WEIGHTS else 2, full_range=row >= len(numbers))
        expected = colour.to_bgr @ [150, 150, 150, 1]
        np.testing.assert_allclose(pixels, np.broadcast_to(expected[:, None, None], (3, 6, 8)), atol=1e-3)


def test_the_order_of_channels_is_folded_into_the_first_convolution(run_ort: Run) -> None:
    rng = np.random.default_rng(1)
    target = spec_of((40, 24), BatchRange(1, 1, 4))
    frames = frames_of(rng, target, KINDS)
    model = convolution(rng)
    seen = nv12_pixels(frames, target, (40, 24), "letterbox")[..., ::-1] / 255
    expected = run_ort(model, {"images": seen.transpose(0, 3, 1, 2).astype(np.float32)})[0]
    model = grafted(model, pixels=PixelFormat(), frames=target, size_wh=(40, 24))
    actual = run_ort(model, {"frames": frames})[0]
    assert np.abs(actual - expected).max() / np.abs(expected).max() < 1e-5


@pytest.mark.parametrize("frame_wh", [(288, 192), (192, 128), (500, 498), (1280, 720), (60, 40)])
def test_only_the_cast_and_its_parts_have_the_size_of_the_camera(frame_wh: tuple[int, int]) -> None:
    model = grafted(window((96, 64)), pixels=RAW, frames=spec_of(frame_wh, BatchRange()), size_wh=(96, 64))
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    sizes = {
        value.name: math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in inferred.value_info
    }
    largest = max(3 * 96 * 64, frame_wh[0] * min(64, frame_wh[1] - 1))
    for node in inferred.node[1:]:
        if node.op_type not in ("Split", "Reshape"):  # parts of the Cast, not moved
            assert all(sizes[name] <= largest for name in node.output if name in sizes), node.name


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["letterbox", "center-crop", "stretch"])
@pytest.mark.parametrize("size_wh", [(1920, 1080), (640, 640)])
def test_tensorrt_rtx_builds_the_conversion(size_wh: tuple[int, int], fit: Fit) -> None:
    target = spec_of(size_wh, BatchRange(1, 2, 4))
    model = grafted(window((640, 640)), pixels=IMAGENET, frames=target, size_wh=(640, 640), fit=fit)
    smallest, usual, largest = ((count, *target.frame_shape) for count in (1, 2, 4))
    build_rtx_engine(model.SerializeToString(), {"frames": (smallest, usual, largest)})
