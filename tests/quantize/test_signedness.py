from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from edgevision.errors import GraphError
from edgevision.quantize.signedness import (
    activation_quantizers,
    with_signed_activations,
    with_unsigned_activations,
)
from tests.quantize.concat_graph import Floats, concat_answer, concat_graph, concat_inputs

SIGNED = np.int8(0)
SCALES = (0.5, 0.1, 0.05)


def answer_of_onnxruntime(model: onnx.ModelProto) -> Floats:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, concat_inputs())[0])


def answer_of_openvino(model: onnx.ModelProto) -> Floats:
    pytest.importorskip("openvino")
    from edgevision.engines.openvino import shared_core

    core = shared_core()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", hint)
    return np.array(compiled(concat_inputs())[compiled.output(0)])


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("scale", SCALES)
def test_openvino_computes_unsigned_activations_around_a_concat_rightly(scale: float, before: bool) -> None:
    model = with_unsigned_activations(concat_graph(scale, zero_point=SIGNED, before=before))
    expected = concat_answer(scale)
    np.testing.assert_allclose(answer_of_onnxruntime(model), expected, atol=1e-4)
    # One step where a value lies between two: the engines round a product, not a quotient.
    difference = np.abs(answer_of_openvino(model) - expected)
    assert difference.max() < scale + 1e-4
    assert np.mean(difference > 1e-4) < 0.01


def test_onnxruntime_results_are_bit_identical() -> None:
    signed = concat_graph(0.1, zero_point=SIGNED)
    unsigned = with_unsigned_activations(signed)
    np.testing.assert_array_equal(answer_of_onnxruntime(signed), answer_of_onnxruntime(unsigned))


def test_only_activations_change() -> None:
    signed = concat_graph(0.1, zero_point=SIGNED, before=True)
    unsigned = with_unsigned_activations(signed)
    onnx.checker.check_model(unsigned, full_check=True)
    assert len(activation_quantizers(unsigned.graph)) == 2
    kinds = {tensor.name: tensor.data_type for tensor in unsigned.graph.initializer}
    assert kinds["weights"] == kinds["weight_zero_point"] == onnx.TensorProto.INT8
    assert "zero_point" not in kinds
    assert kinds["zero_point_uint8_128"] == onnx.TensorProto.UINT8


def test_there_and_back() -> None:
    signed = concat_graph(0.1, zero_point=SIGNED)
    back = with_signed_activations(with_unsigned_activations(signed))
    onnx.checker.check_model(back, full_check=True)
    np.testing.assert_array_equal(answer_of_onnxruntime(signed), answer_of_onnxruntime(back))
    zero_points = {node.input[2] for node in activation_quantizers(back.graph)}
    assert zero_points == {"zero_point_int8_0"}


def test_the_input_graph_is_not_changed() -> None:
    signed = concat_graph(0.1, zero_point=SIGNED)
    before = signed.SerializeToString(deterministic=True)
    with_unsigned_activations(signed)
    assert signed.SerializeToString(deterministic=True) == before


def test_unsigned_activations_are_not_changed() -> None:
    unsigned = concat_graph(0.1, zero_point=np.uint8(128))
    same = with_unsigned_activations(unsigned)
    np.testing.assert_array_equal(answer_of_onnxruntime(unsigned), answer_of_onnxruntime(same))
    assert {node.input[2] for node in activation_quantizers(same.graph)} == {"zero_point"}


def test_a_max_pool_on_integers_is_carried() -> None:
    model = concat_graph(0.1, zero_point=SIGNED)
    quantize, dequantize = model.graph.node[1], model.graph.node[2]
    pool = onnx.helper.make_node("MaxPool", [quantize.output[0]], ["pooled"], kernel_shape=[1, 1])
    dequantize.input[0] = "pooled"
    model.graph.node.insert(2, pool)
    unsigned = with_unsigned_activations(model)
    onnx.checker.check_model(unsigned, full_check=True)
    np.testing.assert_allclose(answer_of_onnxruntime(unsigned), concat_answer(0.1), atol=1e-4)


def test_a_zero_point_per_channel_is_refused() -> None:
    model = concat_graph(0.1, zero_point=SIGNED)
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == "zero_point")
    stored.CopyFrom(onnx.numpy_helper.from_array(np.zeros(32, np.int8), "zero_point"))
    with pytest.raises(GraphError, match="per tensor"):
        with_unsigned_activations(model)


def test_other_zero_points_move_as_well() -> None:
    signed = with_signed_activations(concat_graph(0.1, zero_point=np.uint8(0)))
    assert signed.graph.node[1].input[2] == "zero_point_int8_-128"
