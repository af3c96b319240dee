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
