"""Weights of 7 bits: sums of pairs of 8-bit products that fit 16 bits on every CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.device.cpu_class import SATURATING, saturates

pytest.importorskip("modelopt")

from edgevision.quantize.calibration.ranges import INT7_MAX, INT8_MAX
from edgevision.quantize.options import QuantizeOptions
from edgevision.quantize.qdq import weight_scales

CHANNELS = 64


def convolution(weight: int) -> bytes:
    """Activations of 255 as uint8, and each weight the same: the largest sums that there are."""
    stored = {
        "step": np.float32(1),
        "zero": np.uint8(0),
        "weights": np.full((16, CHANNELS, 3, 3), weight, np.int8),
        "scale": np.float32(1),
        "centre": np.int8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "step", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["weights", "scale", "centre"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "full",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 6, 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString()
    return serialized


def openvino_answer(weight: int) -> float:
    pytest.importorskip("openvino")
    from edgevision.engines.openvino import shared_core

    core = shared_core()
    compiled = core.compile_model(
        core.read_model(convolution(weight)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    answer = compiled(np.full((1, CHANNELS, 8, 8), 255, np.float32))[0]
    assert (answer == answer.flat[0]).all()
    return float(answer.flat[0])


def test_seven_bits_are_exact_in_openvino() -> None:
    assert openvino_answer(INT7_MAX) == 255 * INT7_MAX * CHANNELS * 9


def test_eight_bits_saturate_without_vnni() -> None:
    exact = 255 * INT8_MAX * CHANNELS * 9
    answer = openvino_answer(INT8_MAX)
    if saturates():
        assert answer == 32767 * CHANNELS * 9 / 2, "each pair of products stops at the largest 16-bit number"
    else:
        assert answer == exact


@pytest.mark.parametrize("largest", [INT7_MAX, INT8_MAX])
def test_weights_keep_to_their_bits(largest: int) -> None:
    weights = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    steps, scales = weight_scales(weights, 0, largest)
    assert np.abs(steps).max(axis=(1, 2, 3)).tolist() == [largest] * 8
    np.testing.assert_allclose(
        steps * scales.reshape(-1, 1, 1, 1), weights, atol=float(scales.max()) / 2 * 1.001
    )


@pytest.mark.parametrize(
    ("target", "bits", "cpu", "largest"),
    [
        ("cpu", None, "x86-64 AVX2", INT7_MAX),
        ("cpu", None, "x86-64 AVX-512", INT7_MAX),
        ("cpu", None, "x86-64 AVX-512 VNNI", INT8_MAX),
        ("cpu", None, "aarch64 dot product", INT8_MAX),
        ("cpu", 8, "x86-64 AVX2", INT8_MAX),
        ("cpu", 7, "x86-64 AVX-512 VNNI", INT7_MAX),
        ("tensorrt", None, "x86-64 AVX2", INT8_MAX),
    ],
)
def test_bits_follow_the_cpu_unless_specified(
    monkeypatch: pytest.MonkeyPatch, target: str, bits: int | None, cpu: str, largest: int
) -> None:
    monkeypatch.setattr("edgevision.quantize.options.saturates", lambda: cpu in SATURATING)
    options = QuantizeOptions(Path(), target=target, weight_bits=bits)  # type: ignore[arg-type]
    assert options.largest_weight() == largest
