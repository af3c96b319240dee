from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgevision.errors import GraphError, UsageError
from edgevision.quantize.calibration.magnitudes import Magnitudes, float_values, probe_magnitudes
from edgevision.quantize.fp16 import half_graph
from edgevision.quantize.search.layers import (
    LIMITS,
    LayerError,
    check_layers,
    first_broken_layer,
    layer_errors,
)
from tests.quantize.pixel_networks import factor, frames, network, with_fault, with_int8_weights

BATCHES = [frames(seed=seed) for seed in range(3)]
FLOAT = network(("Relu", {}))
INT8 = with_int8_weights(FLOAT)


def errors(model: onnx.ModelProto) -> dict[str, float]:
    return {error.layer: error.error for error in layer_errors(FLOAT, model, BATCHES)}


def test_a_graph_has_no_error_against_itself() -> None:
    assert errors(FLOAT) == {"first": 0.0, "last": 0.0}


def test_rounding_is_small_and_keeps_the_limit() -> None:
    found = layer_errors(FLOAT, INT8, BATCHES)
    assert [error.layer for error in found] == ["first", "last"]
    assert all(0 < error.error < 0.05 for error in found)
    assert first_broken_layer(found, "int8") is None


@pytest.mark.parametrize("layer", ["first", "last"])
@pytest.mark.parametrize("channel", [None, 2])
def test_a_weight_scale_times_4_is_found_in_its_layer_alone(layer: str, channel: int | None) -> None:
    found = layer_errors(FLOAT, with_fault(INT8, layer, channel), BATCHES)
    broken = first_broken_layer(found, "int8")
    assert broken is not None
    assert broken.layer == layer
    assert channel in (None, broken.channel)
    assert broken.error == pytest.approx(3.0, rel=0.05)
    assert [error.layer for error in found if error.error > LIMITS["int8"]] == [layer]


def test_the_first_of_several_is_named() -> None:
    both = with_fault(with_fault(INT8, "last", 1), "first", 1)
    broken = first_broken_layer(layer_errors(FLOAT, both, BATCHES), "int8")
    assert broken is not None
    assert (broken.layer, broken.channel) == ("first", 1)


def test_the_input_is_the_one_before_it_was_quantized() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(FLOAT)
    for name, array in (("s", np.float32(1.0)), ("z", np.uint8(0))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    model.graph.node.insert(4, onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"]))
    model.graph.node.insert(4, onnx.helper.make_node("QuantizeLinear", ["relu0", "s", "z"], ["q"]))
    model.graph.node[6].input[0] = "dq"
    found = errors(model)
    assert found["first"] == 0.0
    assert found["last"] > 0.01


def test_fp16_arithmetic_is_rounded_and_an_overflow_is_found(tmp_path: Path) -> None:
    model = network(("Mul", factor(6e4)), ("Mul", factor(1e-5)), ("Relu", {}))
    onnx.save(model, tmp_path / "float.onnx")
    careful = half_graph(model, probe_magnitudes(model, BATCHES)).model
    blind = half_graph(model, Magnitudes(1, dict.fromkeys(float_values(model), 1.0))).model
    for half, passes in ((careful, True), (blind, False)):
        onnx.save(half, tmp_path / "half.onnx")
        check, broken = check_layers(
            tmp_path / "float.onnx", tmp_path / "half.onnx", "fp16", np.concatenate(BATCHES), 1
        )
        assert check.passed == passes
        assert (broken is None) == passes
        assert (check.measured > 0) or not passes


def test_layers_of_other_names_are_passed_over() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(INT8)
    next(node for node in model.graph.node if node.name == "first").name = "another"
    assert list(errors(model)) == ["last"]


def test_a_nan_keeps_no_limit() -> None:
    assert first_broken_layer([LayerError("x", float("nan"), 0)], "int8") is not None


def test_no_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="no frame"):
        layer_errors(FLOAT, INT8, [])


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(GraphError, match="not an ONNX file"):
        check_layers(tmp_path / "x.onnx", tmp_path / "x.onnx", "int8", frames(), 1)
