"""Inserted Q/DQ: places, step sizes, and unchanged parts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import GraphError
from edgevision.graph.macs import macs_of_weighted_nodes
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.calibration.ranges import Ranges
from edgevision.quantize.placement import Edge, QdqPlacement, is_quantized, placement_by_modelopt
from edgevision.quantize.qdq import quantized, weight_scales
from tests.quantize.pixel_networks import SIDE, answers, frames, network

PLACEMENT = QdqPlacement(
    activations=(Edge("first", 0, "image"), Edge("last", 0, "first")),
    weights=(Edge("first", 1, "first.weight"), Edge("last", 1, "last.weight")),
)
RANGES = Ranges("max", 1, {"image": 255.0, "first": 30.0})


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_every_edge_is_read_through_q_and_dq() -> None:
    model = quantized(network(), PLACEMENT, RANGES)
    onnx.checker.check_model(model, full_check=True)
    assert kinds(model).count("QuantizeLinear") == 2
    assert kinds(model).count("DequantizeLinear") == 4
    made_by = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert [made_by[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2


def test_zero_points_are_zero_and_weights_have_a_scale_for_each_channel() -> None:
    model = quantized(network(), PLACEMENT, RANGES)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = stored[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
    scales = stored["int8/first.weight/0/scale"]
    assert scales.shape == (4,)
    original = numpy_helper.to_array(next(t for t in network().graph.initializer if t.name == "first.weight"))
    np.testing.assert_allclose(scales, np.abs(original).max(axis=(1, 2, 3)) / 127, rtol=1e-6)
    assert stored["int8/image/scale"] == pytest.approx(255 / 127)
    assert "first.weight" not in stored, "the float weights went out with their last reader"


def test_quantized_outputs_are_close() -> None:
    batches = [frames(seed=seed) for seed in range(4)]
    float_scores = answers(network(), batches)
    int8_scores = answers(quantized(network(), PLACEMENT, RANGES), batches)
    difference = np.abs(float_scores - int8_scores).max()
    assert 0 < difference < 0.05


def test_a_layer_kept_in_float_reads_what_it_read() -> None:
    model = quantized(network(), PLACEMENT, RANGES, kept_float=["first"])
    nodes = {node.name: node for node in model.graph.node}
    assert list(nodes["first"].input) == ["image", "first.weight"]
    assert nodes["last"].input[0] == "int8/first/dq"
    assert kinds(model).count("QuantizeLinear") == 1


def test_all_in_float_is_the_graph_itself() -> None:
    model = quantized(network(), PLACEMENT, RANGES, kept_float=["first", "last"])
    assert model.graph == network().graph


def joined() -> onnx.ModelProto:
    """Two convolutions of one frame, an addition, a Concat, and a convolution of all."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.1, (4, 3, 1, 1)).astype(np.float32) for name in ("a.w", "b.w")}
    weights["c.w"] = rng.normal(0, 0.1, (2, 8, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "a.w"], ["a"], name="a"),
        helper.make_node("Conv", ["x", "b.w"], ["b"], name="b"),
        helper.make_node("Add", ["a", "b"], ["sum"], name="sum"),
        helper.make_node("Concat", ["sum", "b"], ["all"], name="all", axis=1),
        helper.make_node("Conv", ["all", "c.w"], ["c"], name="c"),
    ]
    graph = helper.make_graph(
        nodes,
        "joined",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 2, 4, 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


JOINED = QdqPlacement(
    activations=tuple(
        Edge(*edge)
        for edge in (
            ("a", 0, "x"),
            ("b", 0, "x"),
            ("sum", 0, "a"),
            ("sum", 1, "b"),
            ("all", 0, "sum"),
            ("all", 1, "b"),
            ("c", 0, "all"),
        )
    ),
    weights=(Edge("a", 1, "a.w"), Edge("b", 1, "b.w"), Edge("c", 1, "c.w")),
)
JOINED_RANGES = Ranges("max", 1, {"x": 1.0, "a": 2.0, "b": 3.0, "sum": 4.0, "all": 5.0})


def scales(model: onnx.ModelProto) -> dict[str, npt.NDArray[np.float32]]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith("/scale")}


def test_what_a_concat_joins_has_one_scale() -> None:
    found = scales(quantized(joined(), JOINED, JOINED_RANGES))
    assert {float(found[f"int8/{name}/scale"]) for name in ("sum", "b", "all")} == {np.float32(5 / 127)}
    assert found["int8/a/scale"] == np.float32(2 / 127)


def test_additions_follow_the_arithmetic_behind_them() -> None:
    model = quantized(joined(), JOINED, JOINED_RANGES, kept_float=["c"])
    nodes = {node.name: node for node in model.graph.node}
    assert list(nodes["sum"].input) == ["a", "b"]
    assert list(nodes["all"].input) == ["sum", "b"]
    assert nodes["a"].input[0] == nodes["b"].input[0] == "int8/x/dq"


def test_a_channel_of_zeros_has_a_scale_of_one() -> None:
    whole, steps = weight_scales(np.array([[0.0, 0.0], [1.0, -0.5]], np.float32), 0)
    np.testing.assert_array_equal(steps, np.array([1, 1 / 127], np.float32))
    np.testing.assert_array_equal(whole, [[0, 0], [127, -64]])


def test_operations_are_counted_by_hand() -> None:
    # first: 6x6 places (no padding), 4 channels, kernels of 3x3x3; last: 6x6 places, 5 channels of 4.
    assert macs_of_weighted_nodes(network()) == {"first": 36 * 4 * 27, "last": 36 * 5 * 4}


def test_nodes_get_names_of_their_own() -> None:
    model = joined()
    for node in model.graph.node:
        node.name = "same"
    names = [node.name for node in with_named_nodes(model).graph.node]
    assert len(set(names)) == len(names)


def wide() -> onnx.ModelProto:
    """Channels enough for tensor cores: modelopt leaves narrow convolutions alone."""
    rng = np.random.default_rng(0)
    shapes = {"first.weight": (32, 3, 3, 3), "middle.weight": (32, 32, 3, 3), "last.weight": (32, 32, 1, 1)}
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], name="pre/Cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["image"], name="pre/Transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["image", "first.weight"], ["first"], name="first"),
        helper.make_node("Relu", ["first"], ["bent"], name="bent"),
        helper.make_node("Conv", ["bent", "middle.weight"], ["middle"], name="middle", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["middle", "bent"], ["sum"], name="sum"),
        helper.make_node("Conv", ["sum", "last.weight"], ["last"], name="last"),
        helper.make_node("GlobalAveragePool", ["last"], ["pooled"], name="pooled"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="logits"),
        helper.make_node("Softmax", ["logits"], ["scores"], name="post/Softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 32])],
        [
            numpy_helper.from_array(rng.normal(0, 0.05, shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_modelopt_places_the_convolutions_and_leaves_the_graft_out() -> None:
    placement = placement_by_modelopt(wide(), frames())
    assert placement.weighted_nodes == {"first", "middle", "last"}
    assert Edge("sum", 1, "bent") in placement.activations, "the residual is added in INT8"
    assert not {edge.node for edge in placement.activations} & {"pre/Cast", "pre/Transpose", "post/Softmax"}
    done = quantized(wide(), placement, Ranges("max", 1, dict.fromkeys(placement.tensors, 30.0)))
    onnx.checker.check_model(done, full_check=True)
    assert is_quantized(done)
    assert not is_quantized(wide())


def test_a_graph_without_weights_is_refused() -> None:
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], name="pre/Cast", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["scores"], name="mean", axes=[1, 2], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [1, 8, 8, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(GraphError, match="modelopt"):
        placement_by_modelopt(model, frames())
