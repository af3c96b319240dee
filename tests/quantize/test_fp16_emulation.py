from __future__ import annotations

import numpy as np
import onnx

from edgevision.quantize.calibration.magnitudes import Magnitudes, float_values
from edgevision.quantize.fp16 import half_graph
from edgevision.quantize.fp16_emulation import emulated_half
from tests.quantize.pixel_networks import answers, factor, frames, network, values

BATCHES = [frames(seed=seed) for seed in range(2)]


def blindly_halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """As if no range had been probed."""
    return half_graph(model, Magnitudes(1, dict.fromkeys(float_values(model), 1.0))).model


def test_every_value_is_one_that_fp16_holds() -> None:
    model = emulated_half(blindly_halved(network(("Mul", factor(0.123)), ("Relu", {}))))
    for name in ("first", "mul0", "relu1", "last"):
        value = values(model, name, BATCHES[0])
        assert value.dtype == np.float32
        assert value.any()
        np.testing.assert_array_equal(value, value.astype(np.float16).astype(np.float32))


def test_the_contract_computes_in_float() -> None:
    model = network(("Relu", {}))
    found = values(emulated_half(blindly_halved(model)), "scores", BATCHES[0])
    assert (found != found.astype(np.float16)).any()
    np.testing.assert_allclose(found, values(model, "scores", BATCHES[0]), atol=2e-3)


def test_an_overflow_shows_which_onnxruntime_alone_hides() -> None:
    model = network(("Mul", factor(6e4)), ("Mul", factor(1e-5)), ("Relu", {}))
    half = blindly_halved(model)
    np.testing.assert_allclose(answers(half, BATCHES), answers(model, BATCHES), atol=2e-3)
    assert np.isnan(answers(emulated_half(half), BATCHES)).any()


def test_each_operation_rounds_its_result_once() -> None:
    """Also to subnormal numbers, of which FP16 has steps of 2^-24."""
    model = emulated_half(
        blindly_halved(network(("Mul", factor(0.123)), ("Add", factor(0.3)), ("Mul", factor(1e-6))))
    )
    first, scaled, shifted, small = (
        values(model, name, BATCHES[0]) for name in ("first", "mul0", "add1", "mul2")
    )
    half = np.float16
    np.testing.assert_array_equal(scaled, (first * np.float32(half(0.123))).astype(half))
    np.testing.assert_array_equal(shifted, (scaled + np.float32(half(0.3))).astype(half))
    np.testing.assert_array_equal(small, (shifted * np.float32(half(1e-6))).astype(half))
    assert 0 < np.abs(small[small != 0]).min() < 2**-16


def test_products_are_summed_in_float32() -> None:
    """As tensor cores do: a sum in FP16 of 27 products would err by several of its steps."""
    model = network(("Relu", {}))
    found = values(emulated_half(blindly_halved(model)), "first", BATCHES[0])
    (weights,) = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "first.weight"]
    windows = np.lib.stride_tricks.sliding_window_view(BATCHES[0][0].astype(np.float64), (3, 3), axis=(0, 1))
    exact = np.einsum("yxcij,ocij->oyx", windows, weights.astype(np.float16).astype(np.float64))
    step = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
    assert (np.abs(found[0] - exact) <= 0.501 * step).all()
