"""Small networks that ONNX's checker accepts, in forms that a reader might not expect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str | None]
Array = np.ndarray[Any, Any]
F = TensorProto.FLOAT
IMAGE: Dims = (1, 3, 64, 96)


def made(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto],
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    weights: dict[str, Array] | None = None,
    domains: Sequence[str] = ("",),
) -> onnx.ModelProto:
    stored = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    inputs = [helper.make_tensor_value_info("x", F, IMAGE)] if inputs is None else inputs
    graph = helper.make_graph(nodes, "odd", inputs, outputs, stored)
    versions = {"": 17, "ai.onnx.ml": 3}
    imports = [helper.make_opsetid(domain, versions.get(domain, 1)) for domain in domains]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def value(name: str, dims: Dims, kind: int = F) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def pooled(image: Dims, output: Dims, kind: int = F) -> onnx.ModelProto:
    """A classifier of 3 classes: the mean of each channel."""
    nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p")]
    return made(nodes, [value("y", output, kind)], [value("x", image, kind)])


def reshaped(*shape: int, dims: Dims = ()) -> onnx.ModelProto:
    """An output of any shape with as many elements as the image has, 18432."""
    weights = {"s": np.array(shape, np.int64)}
    return made([node("Reshape", "x s")], [value("y", dims or shape)], weights=weights)


def cut(dims: Dims, **ends: int) -> onnx.ModelProto:
    """The image as rows of 8 values, cut to `rows` and `columns`."""
    weights = {
        "s": np.array([1, -1, 8]),
        "from": np.array([0, 0]),
        "to": np.array([ends["rows"], ends["columns"]]),
        "axes": np.array([1, 2]),
    }
    nodes = [node("Reshape", "x s", "r"), node("Slice", "r from to axes")]
    return made(nodes, [value("y", dims)], weights=weights)


def cast(kind: int) -> onnx.ModelProto:
    nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), node("Cast", "f", to=kind)]
    return made(nodes, [value("y", (1, 3), kind)])


def expanded(*shape: int) -> onnx.ModelProto:
    """An output that is larger than any memory, by its shape."""
    nodes = [node("ReduceMean", "x", "m", keepdims=0), node("Expand", "m s")]
    return made(nodes, [value("y", shape)], weights={"s": np.array(shape, np.int64)})


def of_type(kind: onnx.TypeProto, operator: str) -> onnx.ModelProto:
    return made([node(operator, "x")], [helper.make_value_info("y", kind)])


def unknown_shape() -> onnx.ModelProto:
    nodes = [node("NonZero", "x", "n"), node("Cast", "n", to=F)]
    return made(nodes, [value("y", (4, None))])


def branches() -> onnx.ModelProto:
    """Two branches of different ranks."""
    one = helper.make_graph([node("Flatten", "x", "a")], "one", [], [value("a", (None, None))])
    two = helper.make_graph([node("Identity", "x", "b")], "two", [], [value("b", IMAGE)])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=one, else_branch=two)
    nodes = [node("ReduceMax", "x", "m", keepdims=0), node("Cast", "m", "c", to=TensorProto.BOOL), branch]
    return made(nodes, [value("y", (None, None))])


def zip_map() -> onnx.ModelProto:
    """Probabilities by name, as scikit-learn's converter writes them."""
    pair = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(F, None))
    kind = helper.make_sequence_type_proto(pair)
    zipped = helper.make_node("ZipMap", ["f"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), zipped]
    return made(nodes, [helper.make_value_info("y", kind)], domains=("", "ai.onnx.ml"))


SEQUENCE = helper.make_sequence_type_proto(helper.make_tensor_type_proto(F, IMAGE))
OPTIONAL = helper.make_optional_type_proto(helper.make_tensor_type_proto(F, IMAGE))

ADOPTED: dict[str, Callable[[], onnx.ModelProto]] = {
    "minus one": lambda: pooled((-1, 3, 64, 96), (-1, 3)),
    "minus one everywhere": lambda: pooled((-1, 3, -1, -1), (-1, -1)),
    "question marks": lambda: pooled(("?", 3, "?", "?"), ("?", "?")),
    "empty names": lambda: pooled((None, 3, None, None), (None, None)),
    "all dynamic": lambda: pooled(("a", "b", "c", "d"), ("a", "b")),
    "one name for all": lambda: pooled(("n", "n", "n", "n"), ("n", "n")),
    "float16": lambda: pooled(IMAGE, (1, 3), TensorProto.FLOAT16),
}
"""Classifiers of 3 classes."""

REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "nhwc dynamic": (
        lambda: pooled(("n", None, -1, 3), ("n", None)),
        r"any size \(x float32 \[\?, 3, \?, \?\]\)",
    ),
    "gray": (lambda: pooled((1, 1, 64, 96), (1, 1)), r"expected float32 or float16 \[B, 3, H, W\]"),
    "four channels": (lambda: pooled((1, 4, 64, 96), (1, 4)), "expected float32"),
    "no channels": (lambda: pooled((1, 0, 64, 96), (1, 0)), "expected float32"),
    "no height": (lambda: pooled((1, 3, 0, 96), (1, 3)), "no pixels"),
    "no batch": (lambda: pooled((0, 3, 64, 96), (0, 3)), "batches of 0"),
    "huge image": (lambda: pooled((1, 3, 1 << 40, 1 << 40), (1, 3)), "million pixels"),
    "double": (lambda: pooled(IMAGE, (1, 3), TensorProto.DOUBLE), "expected float32"),
    "rank 3 input": (
        lambda: made([node("Flatten", "x")], [value("y", (3, 64))], [value("x", (3, 8, 8))]),
        "expected float32",
    ),
    "rank 0 input": (
        lambda: made([node("Identity", "x")], [value("y", ())], [value("x", ())]),
        "expected float32",
    ),
    "string input": (
        lambda: made(
            [node("Identity", "x")],
            [value("y", IMAGE, TensorProto.STRING)],
            [value("x", IMAGE, TensorProto.STRING)],
        ),
        "x string",
    ),
    "sequence input": (
        lambda: made(
            [node("SequenceLength", "x")],
            [value("y", (), TensorProto.INT64)],
            [helper.make_value_info("x", SEQUENCE)],
        ),
        "x sequence",
    ),
    "two inputs": (
        lambda: made([node("Add", "x z")], [value("y", IMAGE)], [value("x", IMAGE), value("z", IMAGE)]),
        "2 inputs",
    ),
    "no input": (
        lambda: made([node("Identity", "w")], [value("y", (1, 3))], [], {"w": np.zeros((1, 3), np.float32)}),
        "0 inputs",
    ),
    "no nodes": (lambda: made([], [value("x", IMAGE)]), "holds no graph"),
    "no output": (lambda: made([node("Identity", "x")], []), "no head fits|simpl"),
    "rank 0": (lambda: made([node("ReduceMean", "x", keepdims=0)], [value("y", ())]), "no head fits"),
    "rank 1": (lambda: reshaped(18432), r"y float32 \[18432\]"),
    "rank 5": (lambda: reshaped(1, 2, 48, 64, 3), "no head fits"),
    "zero classes": (lambda: cut((1, 2304, 0), rows=9999, columns=0), "no head fits"),
    "zero rows": (lambda: cut((1, 0, 8), rows=0, columns=8), "no head fits"),
    "zero finished boxes": (lambda: cut((1, 0, 6), rows=0, columns=6), "no rows"),
    "one value": (lambda: reshaped(18432, 1), "first length"),
    "not a batch": (lambda: reshaped(18, 1024), "first length"),
    "too many classes": (lambda: expanded(1, 1 << 40), "no head fits"),
    "too many boxes": (lambda: expanded(1, 1 << 40, 8), "do not match the cells"),
    "string": (lambda: cast(TensorProto.STRING), "y string"),
    "integers": (lambda: cast(TensorProto.INT64), "the output is int64"),
    "truth": (lambda: cast(TensorProto.BOOL), "the output is bool"),
    "doubles": (lambda: cast(TensorProto.DOUBLE), "the output is float64"),
    "sequence": (lambda: of_type(SEQUENCE, "SequenceConstruct"), "y sequence"),
    "optional": (lambda: of_type(OPTIONAL, "Optional"), "y optional|cannot be simplified"),
    "map": (zip_map, "ai.onnx.ml"),
    "unknown shape": (unknown_shape, "no head fits"),
    "branches": (branches, "no head fits"),
}
"""Networks that no head fits, with the reason."""
