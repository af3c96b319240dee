"""Each kind of fault is named; limits are those of the documents, and of TensorRT-RTX's own parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import GraphError, UsageError
from edgevision.graph.limits.check import readable_by, require_readable, unread
from edgevision.graph.limits.versions import LIMITS, limits_named, limits_of, table_lines

Array = npt.NDArray[Any]
ALL = tuple(row.name for row in LIMITS)
T = TensorProto


def model(
    nodes: list[tuple[Any, ...]],
    stored: dict[str, Array] | None = None,
    *,
    shape: tuple[int | str, ...] = (1, 4, 4, 3),
    dtype: int = T.UINT8,
    opset: int = 17,
) -> onnx.ModelProto:
    """A graph from ``x``; each node is (operator, inputs, outputs, attributes), the last one's outputs leave it."""
    made = [
        helper.make_node(kind, inputs.split(), outputs.split(), name=f"n{i}_{kind}", **attributes)
        for i, (kind, inputs, outputs, attributes) in enumerate(nodes)
    ]
    last = nodes[-1][2].split()[0]
    graph = helper.make_graph(
        made,
        "planted",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [onnx.ValueInfoProto(name=last)],
        initializer=[numpy_helper.from_array(a, n) for n, a in (stored or {}).items()],
    )
    bare = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(bare)
    bare.graph.output[0].CopyFrom(inferred.graph.output[0])
    return bare


def problems_of(graph: onnx.ModelProto) -> dict[str, str]:
    """What each version does not read; those that read all are left out."""
    return {row.name: "; ".join(map(str, found)) for row, found in readable_by(graph) if found}


FLOATS = ("Cast", "x", "f", {"to": T.FLOAT})


def test_a_graph_without_faults_is_read_by_all() -> None:
    assert problems_of(model([FLOATS, ("Relu", "f", "y", {})])) == {}


@pytest.mark.parametrize("kind", [T.INT32, T.INT64])
def test_a_mask_that_becomes_uint8_from_integers(kind: int) -> None:
    nodes = [FLOATS, ("ArgMax", "f", "a", {"axis": 3, "keepdims": 0})]
    nodes += [("Cast", "a", "i", {"to": kind}), ("Cast", "i", "y", {"to": T.UINT8})]
    found = problems_of(model(nodes))
    assert tuple(found) == ALL
    old = "int32" if kind == T.INT32 else "int64"
    assert found["11.4"] == (
        f"node n3_Cast (Cast): it casts {old} to uint8; TensorRT converts uint8 only from and to float16 or float32;"
        " export or adopt the model again with this version of edgevision"
    )
    assert "it casts int32 to uint8" in found["8.6"]


def test_a_bool_that_becomes_uint8() -> None:
    found = problems_of(model([FLOATS, ("Greater", "f f", "b", {}), ("Cast", "b", "y", {"to": T.UINT8})]))
    assert all("it casts bool to uint8" in text for text in found.values())
    assert tuple(found) == ALL


def test_uint8_that_something_else_than_a_cast_touches() -> None:
    found = problems_of(
        model([("Transpose", "x", "t", {"perm": [0, 3, 1, 2]}), ("Cast", "t", "y", {"to": T.FLOAT})])
    )
    assert tuple(found) == ALL
    assert "node n0_Transpose (Transpose): it reads x of type uint8" in found["10.3"]
    assert "node n1_Cast (Cast): it reads t of type uint8, which is not an input" in found["10.3"]


def test_uint8_inside_the_graph() -> None:
    found = problems_of(
        model([FLOATS, ("Cast", "f", "u", {"to": T.UINT8}), ("Cast", "u", "y", {"to": T.FLOAT})])
    )
    assert "its output u is uint8, which must be an output of the graph" in found["rtx-1.7"]


def test_a_uint8_constant() -> None:
    stored = {"c": np.ones((1, 4), np.uint8)}
    found = problems_of(model([("Cast", "c", "d", {"to": T.FLOAT}), FLOATS, ("Sub", "f f", "y", {})], stored))
    assert all("constant c: TensorRT does not support uint8 constants" in text for text in found.values())


def test_an_operator_that_none_has() -> None:
    found = problems_of(model([FLOATS, ("Det", "f", "y", {})], shape=(1, 3, 4, 4)))
    assert found["8.6"].startswith("node n1_Det (Det): TensorRT 8.6 does not support this operator")
    assert tuple(found) == ALL


def test_an_operator_of_another_runtime() -> None:
    graph = model([FLOATS, ("Relu", "f", "y", {})])
    graph.graph.node[1].domain = "com.microsoft"
    graph.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert "it belongs to com.microsoft" in problems_of(graph)["10.13"]


def test_an_operator_of_a_later_version_is_reported() -> None:
    found = problems_of(model([FLOATS, ("Gelu", "f", "y", {})], opset=20))
    assert tuple(found) == ("8.6",)
    assert "TensorRT 8.6 does not support this operator" in found["8.6"]


def test_an_operator_that_is_parsed_and_not_built() -> None:
    stored = {"n": np.array([3]), "t": np.array([0.5], np.float32)}
    nodes: list[tuple[Any, ...]] = [
        ("Split", "x", "a b", {"axis": 1}),
        ("Transpose", "b", "s", {"perm": [0, 2, 1]}),
    ]
    nodes += [("NonMaxSuppression", "a s n t t", "y", {})]
    found = problems_of(model(nodes, stored, shape=(1, 8, 4), dtype=T.FLOAT))
    assert tuple(found) == ("rtx-1.7",)
    assert "the builder has no runner that implements it" in found["rtx-1.7"]


def test_a_type_that_an_operator_has_not() -> None:
    found = problems_of(model([("Exp", "x", "y", {})], dtype=T.DOUBLE))
    assert found == {}  # it is read as float32
    found = problems_of(
        model([("Cast", "x", "i", {"to": T.INT32}), ("MatMul", "i i", "y", {})], shape=(4, 4), dtype=T.FLOAT)
    )
    assert "n1_MatMul (MatMul): i is int32; TensorRT 8.6 supports float16, float32" in found["8.6"]
    assert tuple(found) == ALL


def test_a_cast_to_a_type_that_there_is_not() -> None:
    assert (
        "does not support casts of int16"
        in problems_of(model([FLOATS, ("Cast", "f", "y", {"to": T.INT16})]))["11.4"]
    )


def test_int64_values_that_int32_does_not_hold() -> None:
    stored = {"c": np.array([2**40])}
    found = problems_of(model([("Add", "x c", "y", {})], stored, dtype=T.INT64))
    assert tuple(found) == ("8.6",)
    assert "constant c: its int64 values reach 1,099,511,627,776" in found["8.6"]


def test_a_slice_to_the_end_is_none_of_them() -> None:
    stored = {"a": np.array([0]), "b": np.array([2**63 - 1]), "c": np.array([1])}
    assert problems_of(model([FLOATS, ("Slice", "f a b c", "y", {})], stored)) == {}


@pytest.mark.parametrize(("k", "faults"), [(3840, ()), (3841, ALL)])
def test_more_than_3840_of_top_k(k: int, faults: tuple[str, ...]) -> None:
    nodes = [("TopK", "x k", "y i", {"axis": 1})]
    found = problems_of(model(nodes, {"k": np.array([k])}, shape=(1, 5000), dtype=T.FLOAT))
    assert tuple(found) == faults
    assert all(
        "K is 3,841;" in text and "at most 3,840; choose a smaller number" in text for text in found.values()
    )


def test_top_k_unsorted() -> None:
    nodes = [("TopK", "x k", "y i", {"axis": 1, "sorted": 0})]
    assert (
        "sorted is 0" in problems_of(model(nodes, {"k": np.array([3])}, shape=(1, 50), dtype=T.FLOAT))["10.3"]
    )


def test_nine_dimensions() -> None:
    found = problems_of(model([("Relu", "x", "y", {})], shape=(1,) * 9, dtype=T.FLOAT))
    assert all("it has 9 dimensions; TensorRT" in text and "at most 8" in text for text in found.values())
    assert tuple(found) == ALL


def test_too_many_elements_where_there_is_a_limit() -> None:
    found = problems_of(model([("Relu", "x", "y", {})], shape=(2, 2**30), dtype=T.FLOAT))
    assert tuple(found) == ("8.6", "10.3")
    assert "it has 2,147,483,648 elements; TensorRT 8.6 supports at most 2,147,483,647" in found["8.6"]


def test_a_constant_too_large() -> None:
    graph = model([("Add", "x c", "y", {})], {"c": np.ones((1, 4), np.float32)}, shape=(1, 4), dtype=T.FLOAT)
    graph.graph.initializer[0].dims[:] = [2**29, 4]
    graph.graph.output[0].type.tensor_type.ClearField("shape")
    assert "constant c: it has 2,147,483,648 elements" in problems_of(graph)["10.3"]


@pytest.mark.parametrize(
    ("opset", "faults"), [(17, ()), (18, ("8.6",)), (20, ("8.6",)), (22, ("8.6", "10.3"))]
)
def test_an_opset_that_is_not_read(opset: int, faults: tuple[str, ...]) -> None:
    found = problems_of(model([FLOATS, ("Relu", "f", "y", {})], opset=opset))
    assert tuple(found) == faults
    assert all(f"the graph: its opset is {opset};" in text for text in found.values())


def q_dq(scale: Array, zero: Array, opset: int = 19) -> onnx.ModelProto:
    kind = T.FLOAT16 if scale.dtype == np.float16 else T.FLOAT
    nodes = [("Cast", "x", "f", {"to": kind}), ("QuantizeLinear", "f s z", "q", {})]
    nodes += [("DequantizeLinear", "q s z", "y", {})]
    return model(nodes, {"s": scale, "z": zero}, opset=opset)


def test_scales_in_fp16() -> None:
    found = problems_of(q_dq(np.array(0.5, np.float16), np.array(0, np.int8)))
    assert tuple(found) == ("8.6",)
    assert "(QuantizeLinear): its scale s is float16; TensorRT 8.6 supports float32;" in found["8.6"]
    assert "its opset is 19" in found["8.6"]
    assert problems_of(q_dq(np.array(0.5, np.float32), np.array(0, np.int8), 17)) == {}


def test_scales_that_are_not_positive() -> None:
    assert (
        "its scale s is not positive"
        in problems_of(q_dq(np.array(0, np.float32), np.array(0, np.int8)))["10.3"]
    )


def test_q_dq_in_cpu_form_is_reported() -> None:
    found = problems_of(q_dq(np.array(0.5, np.float32), np.array(128, np.uint8)))
    assert tuple(found) == ALL
    for text in found.values():
        assert "it quantizes to uint8, the type for CPU engines" in text
        assert "edgevision quantize BUNDLE --target tensorrt" in text


def test_zero_points_other_than_0() -> None:
    found = problems_of(q_dq(np.array(0.5, np.float32), np.array(3, np.int8)))
    assert all("its zero-point z is not 0" in text for text in found.values())


def test_axes_that_are_computed() -> None:
    stored = {"a": np.array([0]), "one": np.array([1])}
    nodes: list[tuple[Any, ...]] = [("Add", "a one", "axes", {}), ("Unsqueeze", "x axes", "y", {})]
    found = problems_of(model(nodes, stored, dtype=T.FLOAT))
    assert all("axes is computed; " in text for text in found.values())


def test_a_cubic_or_smoothed_resize() -> None:
    stored = {"s": np.array([1, 1, 2, 2], np.float32)}
    cubic = model([FLOATS, ("Resize", "f  s", "y", {})], stored)
    cubic.graph.node[1].input[:] = ["f", "", "s"]
    cubic.graph.node[1].attribute.append(helper.make_attribute("mode", "cubic"))
    assert "mode is cubic" in problems_of(cubic)["8.6"]
    cubic.graph.node[1].attribute[0].s = b"linear"
    assert problems_of(cubic) == {}
    cubic.graph.node[1].attribute.append(helper.make_attribute("antialias", 1))
    cubic.opset_import[0].version = 18
    assert "antialias is set" in problems_of(cubic)["10.3"]


def test_a_pooling_with_an_index_output() -> None:
    nodes = [("MaxPool", "x", "y i", {"kernel_shape": [2, 2]})]
    found = problems_of(model(nodes, shape=(1, 3, 4, 4), dtype=T.FLOAT))
    assert all("it has the output Indices" in text for text in found.values())
    assert tuple(found) == ALL


def test_a_length_beside_the_batch_that_varies() -> None:
    assert problems_of(model([FLOATS, ("Relu", "f", "y", {})], shape=("n", 4, 4, 3))) == {}
    found = problems_of(model([FLOATS, ("Relu", "f", "y", {})], shape=(1, "h", 4, 3)))
    assert all("a dimension other than the batch is dynamic" in text for text in found.values())
    assert tuple(found) == ALL


def test_a_refusal_names_node_operator_reason_and_remedy() -> None:
    graph = model([FLOATS, ("Det", "f", "y", {})], shape=(1, 3, 4, 4))
    with pytest.raises(GraphError) as caught:
        require_readable(graph, limits_named("10.3"), "model.onnx")
    assert str(caught.value) == (
        "TensorRT 10.3 cannot read model.onnx: node n1_Det (Det): TensorRT 10.3 does not support this operator; replace"
        " it with supported ones"
    )
    require_readable(model([FLOATS, ("Relu", "f", "y", {})]), limits_named("10.3"), "model.onnx")


@pytest.mark.parametrize(
    ("flavour", "version", "name"),
    [
        ("tensorrt", "8.6.1", "8.6"),
        ("tensorrt", "10.0.1", "10.3"),
        ("tensorrt", "10.3.0.26", "10.3"),
        ("tensorrt", "10.13.3.9", "10.13"),
        ("tensorrt", "11.4.0", "11.4"),
        ("tensorrt-rtx", "1.7.1.116", "rtx-1.7"),
    ],
)
def test_the_row_of_a_version(flavour: Any, version: str, name: str) -> None:
    assert limits_of(flavour, version).name == name


def test_an_unknown_version() -> None:
    with pytest.raises(UsageError, match="expected one of 8.6, 10.3, 10.13, 11.4, rtx-1.7"):
        limits_named("9.9")


def test_every_row_names_its_sources() -> None:
    assert all(any("operators.md" in source for source in row.sources) for row in LIMITS)


def test_the_documentation_shows_the_table() -> None:
    text = (Path(__file__).parents[3] / "docs" / "tensorrt.md").read_text()
    assert "\n".join(table_lines()) in text


def test_tensorrt_rtx_parses_the_operators_of_its_row() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    row = limits_named("rtx-1.7")
    assert [name for name in row.operators if not parser.supports_operator(name)] == []
    assert not parser.supports_operator("Det")
    assert unread(model([FLOATS, ("Det", "f", "y", {})], shape=(1, 3, 4, 4)), row)
