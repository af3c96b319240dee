"""Random valid graphs: `adopt` works or raises an error of ours, never another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import EdgevisionError
from edgevision.graph.adopt import AdoptOptions, adopt
from edgevision.graph.conventions import HEADS
from edgevision.graph.reference import source_answers

GRAPHS = 200
CHUNK = 50
FLOAT = TensorProto.FLOAT
LAYOUTS: tuple[tuple[int | str, ...], ...] = (
    (1, 3, 32, 48),
    (2, 3, 32, 48),
    ("n", 3, 32, 48),
    (-1, 3, -1, -1),
    ("?", 3, "?", "?"),
    (1, 32, 48, 3),
    ("n", "h", "w", 3),
    (1, 3, 3, 3),
    (1, 1, 32, 48),
    (3, 32, 48),
)
WEIGHTED = [0.3, 0.1, 0.15, 0.1, 0.05, 0.1, 0.05, 0.05, 0.05, 0.05]
SECOND = ("orig_target_sizes", "scale_factor", "im_shape", "image_shape", "other")
COLUMNS = (1, 2, 3, 4, 5, 6, 7, 8, 36, 38, 80, 84, 85, 91, 92)
ROWS = (1, 4, 6, 24, 30, 32, 100)


class RandomGraph:
    """A graph of random layers and heads, kept only if ONNX's checker accepts it."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, count: int = 1, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        names = [name, *[f"{name}_{i}" for i in range(1, count)]]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def choice(self, *values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def features(self, value: str) -> str:
        channels = int(self.choice(3, 4, 5, 8, 19, 37, 85))
        weights = self.rng.normal(0, 1, (channels, 3, 1, 1))
        stride = int(self.choice(1, 2, 4, 8))
        return self.add("Conv", value, self.constant(weights), strides=[stride, stride])

    def output(self, value: str) -> str:
        """One of the forms that heads have, from a map."""
        form = self.choice(
            "map", "vector", "rows", "columns", "pixels", "packed", "labels", "number", "scalar"
        )
        if form == "map":
            return self.scored(value)
        if form == "vector":
            return self.scored(self.add("Flatten", self.add("GlobalAveragePool", value), axis=1))
        if form in ("rows", "columns", "packed"):
            columns, rows = int(self.choice(*COLUMNS)), int(self.choice(*ROWS))
            shape = {"rows": [1, rows, columns], "columns": [1, columns, rows], "packed": [rows, columns]}[
                form
            ]
            pooled = self.add("ReduceMean", value, axes=[1, 2, 3], keepdims=1)
            factor = self.flat(pooled, len(shape))
            return self.scored(self.add("Mul", self.constant(self.rng.normal(0, 1, shape)), factor))
        if form == "labels":
            return self.add("ArgMax", value, axis=1, keepdims=int(self.rng.integers(2)))
        if form == "number":
            picked = self.add("ReduceMax", value, axes=[1, 2, 3], keepdims=0)
            return self.add("Cast", picked, to=TensorProto.INT32)
        return self.add("ReduceMean", value, keepdims=0) if form == "scalar" else self.scored(value)

    def flat(self, pooled: str, rank: int) -> str:
        return self.add("Reshape", pooled, self.constant([-1, *[1] * (rank - 1)], np.int64))

    def scored(self, value: str) -> str:
        kind = self.choice("Sigmoid", "Softmax", "Relu", "Identity", "Exp", "Cast")
        if kind == "Cast":
            return self.add("Cast", value, to=int(self.choice(TensorProto.FLOAT16, TensorProto.INT64, FLOAT)))
        return self.add(kind, value)

    def model(self) -> onnx.ModelProto:
        dims = LAYOUTS[self.rng.choice(len(LAYOUTS), p=WEIGHTED)]
        name = str(self.choice("images", "x", "frames", "boxes"))
        value = name
        if len(dims) == 4 and dims[3] == 3:
            value = self.add("Transpose", name, perm=[0, 3, 1, 2])
        inputs = [helper.make_tensor_value_info(name, FLOAT, dims)]
        features = self.features(value)
        if self.rng.random() < 0.15:
            second = str(self.choice(*SECOND))
            inputs.append(helper.make_tensor_value_info(second, FLOAT, [dims[0], 2]))
            features = self.add("Add", features, self.add("ReduceMean", second, keepdims=0))
        outputs = [self.output(features) for _ in range(int(self.choice(1, 1, 1, 1, 2, 2, 3, 4)))]
        names = [
            f"{self.choice('out', 'boxes', 'scores', 'labels', 'depth')}{i}" for i in range(len(outputs))
        ]
        for output, final in zip(outputs, names, strict=True):
            self.nodes.append(helper.make_node("Identity", [output], [final]))
        graph = helper.make_graph(
            self.nodes, "random", inputs, [onnx.ValueInfoProto(name=final) for final in names], self.weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        for entry in range(int(self.rng.random() < 0.2)):
            key, text = self.choice(
                ("names", "{0: 'a', 1: 'b'}"), ("task", "segment"), ("task", "detect"), ("mean", "0.5")
            )
            model.metadata_props.add(key=f"{key}{entry or ''}", value=text)
        return model


def valid_graph(seed: int) -> onnx.ModelProto:
    """The first valid graph of this seed."""
    for attempt in range(50):
        model = RandomGraph(seed * 1000 + attempt).model()
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError:
            continue
        return model
    raise AssertionError("no attempt is valid")


@pytest.mark.parametrize("start", range(0, GRAPHS, CHUNK))
def test_a_valid_graph_is_adopted_or_refused(tmp_path: Path, start: int) -> None:
    adopted = 0
    for seed in range(start, start + CHUNK):
        path = tmp_path / f"{seed}.onnx"
        onnx.save(valid_graph(seed), path)
        rng = np.random.default_rng(seed)
        wanted = None if rng.random() < 0.6 else HEADS[rng.integers(len(HEADS))]
        names = (None, None, None, ("a", "b"), ("a", "b", "c", "d"))[rng.integers(5)]
        size_wh = None if rng.random() < 0.3 else (48, 32)
        adopted += answered(path, wanted, AdoptOptions(classes=names, size_wh=size_wh))
    assert adopted


def answered(path: Path, head: str | None, options: AdoptOptions) -> bool:
    """True if the file is adopted and runs, False if it is refused with an error of ours."""
    try:
        adoption = adopt(path, head, options)
        width, height = adoption.spec.frames.size_wh
        source_answers(path, adoption, np.full((2, height, width, 3), 99, np.uint8))
    except EdgevisionError:
        return False
    return True
