"""A tiny detector with queries: scores, a selection of tokens, an inverse sigmoid, a refined box."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.quantize.pixel_networks import SIDE

TOKENS, QUERIES, WIDTH = SIDE * SIDE, 6, 8


def query_network(
    *, epsilon: float = 1e-5, normal_epsilon: float = 1e-5, mask: float | None = None, scale: float = 1.0
) -> onnx.ModelProto:
    """`mask` is added to the coordinates of the first token; `scale` multiplies the input of the normalization."""
    stored = _stored(epsilon, normal_epsilon, mask, scale)
    outputs = [("logits", [1, QUERIES, 1]), ("boxes", [1, QUERIES, 4])]
    graph = helper.make_graph(
        _nodes(),
        "queries",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _stored(
    epsilon: float, normal_epsilon: float, mask: float | None, scale: float
) -> dict[str, npt.NDArray[Any]]:
    rng = np.random.default_rng(3)
    offsets = np.zeros((1, TOKENS, 4), np.float32)
    if mask is not None:
        offsets[0, 0] = mask
    return {
        "embed.weight": rng.normal(0, 0.01, (WIDTH, 3, 3, 3)).astype(np.float32),
        "score.weight": rng.normal(0, 1, (WIDTH, 1)).astype(np.float32),
        "box.weight": rng.normal(0, 1, (WIDTH, 4)).astype(np.float32),
        "refine.weight": rng.normal(0, 0.5, (WIDTH, 4)).astype(np.float32),
        "offsets": offsets,
        "scale": np.array(scale, np.float32),
        "shape": np.array([1, WIDTH, TOKENS], np.int64),
        "two": np.array(2, np.float32),
        "normal.epsilon": np.array(normal_epsilon, np.float32),
        "flat": np.array([1, TOKENS], np.int64),
        "queries": np.array([QUERIES], np.int64),
        "last": np.array([-1], np.int64),
        "index4": np.array([1, 1, 4], np.int64),
        "index8": np.array([1, 1, WIDTH], np.int64),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "epsilon": np.array(epsilon, np.float32),
    }


def _nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["frames"], ["pixels"], name="pre/Cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["image"], name="pre/Transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["image", "embed.weight"], ["map"], name="embed", pads=[1, 1, 1, 1]),
        _node("Reshape", "map shape", "columns"),
        helper.make_node("Transpose", ["columns"], ["plain"], name="plain", perm=[0, 2, 1]),
        _node("Mul", "plain scale", "features"),
        *_normalization(),
        _node("MatMul", "tokens score.weight", "scores"),
        _node("Reshape", "scores flat", "ranked"),
        helper.make_node("TopK", ["ranked", "queries"], ["best", "chosen"], name="select", axis=1),
        _node("Unsqueeze", "chosen last", "column"),
        _node("Tile", "column index4", "rows4"),
        _node("Tile", "column index8", "rows8"),
        _node("MatMul", "tokens box.weight", "coordinates"),
        _node("Add", "coordinates offsets", "all_boxes"),
        helper.make_node("GatherElements", ["all_boxes", "rows4"], ["raw"], name="raw", axis=1),
        helper.make_node("GatherElements", ["tokens", "rows8"], ["picked"], name="picked", axis=1),
        _node("Sigmoid", "raw", "reference"),
        *_inverse_sigmoid(),
        _node("MatMul", "picked refine.weight", "delta"),
        _node("Add", "delta inverse", "refined"),
        _node("Sigmoid", "refined", "boxes"),
        _node("MatMul", "picked score.weight", "logits"),
    ]


def _normalization() -> list[onnx.NodeProto]:
    """As exporters of opset 16 write it."""
    return [
        helper.make_node("ReduceMean", ["features"], ["mean"], name="mean", axes=[-1]),
        _node("Sub", "features mean", "centred"),
        _node("Pow", "centred two", "squared"),
        helper.make_node("ReduceMean", ["squared"], ["variance"], name="variance", axes=[-1]),
        _node("Add", "variance normal.epsilon", "guarded"),
        _node("Sqrt", "guarded", "deviation"),
        _node("Div", "centred deviation", "tokens"),
    ]


def _inverse_sigmoid() -> list[onnx.NodeProto]:
    return [
        _node("Clip", "reference zero one", "inside"),
        _node("Clip", "inside epsilon", "left"),
        _node("Sub", "one inside", "rest"),
        _node("Clip", "rest epsilon", "right"),
        _node("Div", "left right", "odds"),
        _node("Log", "odds", "inverse"),
    ]


def _node(operator: str, inputs: str, output: str) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], name=output)
