from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from edgevision.errors import GraphError
from edgevision.quantize.calibration.magnitudes import Magnitudes, probe_magnitudes
from edgevision.quantize.fp16 import HalfGraph, HalfRules, half_graph
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.half.caution import LARGEST
from edgevision.quantize.signedness import DEQUANTIZE, QUANTIZE
from tests.quantize.pixel_networks import answers, factor, frames, network

HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
BATCHES = [frames(seed=seed) for seed in range(4)]


def converted(model: onnx.ModelProto, **rules: Any) -> HalfGraph:
    return half_graph(model, probe_magnitudes(model, BATCHES), HalfRules(**rules))


def types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}


def test_the_network_is_half_and_the_contract_is_not() -> None:
    result = converted(network(("Relu", {})))
    found = types(result.model)
    assert found["first"] == found["relu0"] == found["last"] == HALF
    assert found["scores"] == FLOAT
    assert result.kept == ()
    weights = {t.name: t.data_type for t in result.model.graph.initializer}
    assert weights == {"first.weight/half": HALF, "last.weight/half": HALF}
    np.testing.assert_allclose(
        answers(result.model, BATCHES), answers(network(("Relu", {})), BATCHES), atol=2e-3
    )


def test_whole_pixels_enter_as_half_without_a_cast_in_vain() -> None:
    result = converted(network())
    found = types(result.model)
    assert found["pixels"] == found["image"] == HALF
    assert [n.name for n in result.model.graph.node if n.op_type == "Cast"] == ["pre/Cast", "last/float"]


def test_normalised_pixels_stay_float() -> None:
    model = network(("Sub", factor(104.5)))
    sub = next(node for node in model.graph.node if node.op_type == "Sub")
    conv = next(node for node in model.graph.node if node.name == "first")
    sub.name, sub.input[0], conv.input[0] = "pre/Sub", "image", "sub0"
    model.graph.node.remove(sub)
    model.graph.node.insert(2, sub)
    model.graph.node[4].input[0] = "first"
    found = types(converted(model).model)
    assert found["pixels"] == found["image"] == found["sub0"] == FLOAT
    assert found["sub0/half"] == found["first"] == HALF


def test_decoding_after_the_last_weights_stays_float_by_default() -> None:
    assert types(converted(network()).model)["pooled"] == FLOAT
    assert types(converted(network(), decode_in_float=False).model)["pooled"] == HALF


def test_a_planted_overflow_is_found_named_and_kept() -> None:
    model = network(("Mul", factor(1e5)), ("Mul", factor(1e-5)), ("Relu", {}))
    result = converted(model)
    assert {kept.node for kept in result.kept} == {"mul0", "mul1"}
    reasons = {kept.node: kept.reason for kept in result.kept}
    assert reasons["mul0"] == "its weight factor_100000 reaches 1e+05" or "mul0, which" in reasons["mul0"]
    assert "reads mul0, which reaches" in reasons["mul1"]
    found = types(result.model)
    assert found["mul0"] == found["mul1"] == FLOAT
    assert found["first"] == found["relu2"] == HALF
    np.testing.assert_allclose(
        answers(emulated_half(result.model), BATCHES), answers(model, BATCHES), atol=2e-3
    )


@pytest.mark.parametrize(("margin", "kept"), [(1.0, False), (4.0, True)])
def test_the_margin_decides(margin: float, kept: bool) -> None:
    reached = probe_magnitudes(network(), BATCHES).largest["first"]
    model = network(("Mul", factor(LARGEST / 2 / reached)))
    assert bool(converted(model, margin=margin).kept) == kept


def test_a_weight_that_does_not_fit_keeps_its_node() -> None:
    model = network(("Min", {"ceiling": np.array(3e38, np.float32)}))
    (kept,) = converted(model).kept
    assert (kept.node, kept.operator) == ("min0", "Min")
    assert kept.reason == "its weight ceiling reaches 3e+38"


def test_what_sums_squares_inside_stays_float() -> None:
    ones = {"scale": np.ones(4, np.float32), "shift": np.zeros(4, np.float32)}
    (kept,) = converted(network(("InstanceNormalization", ones))).kept
    assert kept.node == "instancenormalization0"


def test_subnormal_weights_are_counted() -> None:
    weights = np.full((4, 3, 3, 3), 0.01, np.float32)
    weights[0, 0, 0] = 1e-6
    assert converted(network(weights=weights)).subnormal_weights == (("first.weight", 3),)


def test_a_shared_weight_serves_both_types() -> None:
    model = network(("Mul", factor(1e4)), ("Mul", factor(1e-4)))
    model.graph.node[4].input[1] = model.graph.node[3].input[1]
    result = converted(model)
    found = types(result.model)
    assert found["mul0"] == FLOAT
    onnx.checker.check_model(result.model, full_check=True)


def test_regions_and_scales_of_a_resize_stay_float() -> None:
    scales = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
    model = network(("Resize", scales))
    result = converted(model)
    assert types(result.model)["resize0"] == HALF
    np.testing.assert_allclose(answers(result.model, BATCHES), answers(model, BATCHES), atol=2e-3)


def with_quantized_input_of(name: str, scale: float) -> onnx.ModelProto:
    model = network(("Relu", {}))
    node = next(node for node in model.graph.node if node.name == name)
    position = list(model.graph.node).index(node)
    for value, array in (("s", np.float32(scale)), ("z", np.int8(0))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), value))
    names = [node.input[0], "q", "dq"]
    model.graph.node.insert(
        position, onnx.helper.make_node(DEQUANTIZE, ["q", "s", "z"], ["dq"], name="dequantize")
    )
    model.graph.node.insert(
        position, onnx.helper.make_node(QUANTIZE, [names[0], "s", "z"], ["q"], name="quantize")
    )
    node.input[0] = "dq"
    onnx.checker.check_model(model, full_check=True)
    return model


def test_a_quantized_graph_gets_half_scales_and_opset_19() -> None:
    model = with_quantized_input_of("last", 0.05)
    result = converted(model)
    assert result.model.opset_import[0].version == 19
    found = types(result.model)
    assert found["dq"] == found["last"] == found["relu0"] == HALF
    assert {t.name for t in result.model.graph.initializer if "s/" in t.name} == {"s/half"}
    np.testing.assert_allclose(answers(result.model, BATCHES), answers(model, BATCHES), atol=5e-3)


def test_a_scale_too_small_for_half_stays_float() -> None:
    model = with_quantized_input_of("last", 1e-6)
    result = converted(model)
    assert [kept.node for kept in result.kept] == ["dequantize"]
    found = types(result.model)
    assert found["dq"] == FLOAT
    assert found["relu0/float"] == FLOAT
    onnx.checker.check_model(result.model, full_check=True)


def test_a_quantizer_of_stored_weights_is_folded() -> None:
    model = network(("Relu", {}))
    scale = np.full(4, 0.001, np.float32)
    for name, array in (("ws", scale), ("wz", np.zeros(4, np.int8))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model.graph.node.insert(
        0, onnx.helper.make_node(DEQUANTIZE, ["wq", "ws", "wz"], ["w"], name="w_dq", axis=0)
    )
    model.graph.node.insert(0, onnx.helper.make_node(QUANTIZE, ["first.weight", "ws", "wz"], ["wq"], axis=0))
    next(node for node in model.graph.node if node.name == "first").input[1] = "w"
    result = converted(model)
    stored = {t.name: t for t in result.model.graph.initializer}
    assert stored["wq"].data_type == onnx.TensorProto.INT8
    original = next(t for t in model.graph.initializer if t.name == "first.weight")
    expected = np.rint(onnx.numpy_helper.to_array(original) / 0.001).clip(-128, 127)
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(stored["wq"]), expected)
    np.testing.assert_allclose(answers(result.model, BATCHES), answers(model, BATCHES), atol=5e-3)


def test_a_half_graph_is_refused() -> None:
    half = converted(network()).model
    with pytest.raises(GraphError, match="already FP16"):
        half_graph(half, Magnitudes(1, {}))


def test_magnitudes_of_another_graph_are_refused() -> None:
    with pytest.raises(GraphError, match="was not probed"):
        half_graph(network(), Magnitudes(1, {"other": 1.0}))


def test_the_input_graph_is_not_changed() -> None:
    model = network()
    before = model.SerializeToString(deterministic=True)
    converted(model)
    assert model.SerializeToString(deterministic=True) == before
