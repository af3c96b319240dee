"""Adds typed nodes to an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Operand = str | npt.NDArray[Any] | np.generic
"""Name of a value in the graph, or a constant to store in it."""

OPSET = 17
"""Opset of our own exports: the newest that TensorRT 8.6 supports."""

OPSETS = range(17, 21)
"""Opsets in which every operator added here has the same meaning; TensorRT 10 supports all of them."""

FLOAT = onnx.TensorProto.FLOAT
INT32 = onnx.TensorProto.INT32
FLOAT16 = onnx.TensorProto.FLOAT16
UINT8 = onnx.TensorProto.UINT8


class GraphBuilder:
    """Appends nodes and initializers to a graph, in place; every name begins with `prefix`.

    Equal constants are stored once. Operators must have the same meaning in all `OPSETS`. The one exception has its own
    method, which depends on `opset`.
    """

    def __init__(self, graph: onnx.GraphProto, prefix: str, opset: int = OPSET) -> None:
        self.graph = graph
        self.prefix = prefix
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._counts: dict[str, int] = {}

    def op(self, kind: str, *inputs: Operand, **attributes: Any) -> str:
        """Append a node with one output and return that output's name."""
        return self.ops(kind, inputs, 1, **attributes)[0]

    def ops(self, kind: str, inputs: Sequence[Operand], count: int, **attributes: Any) -> tuple[str, ...]:
        """Append a node with `count` outputs and return their names."""
        name = self._name(kind)
        outputs = tuple([name] if count == 1 else [f"{name}.{i}" for i in range(count)])
        names = [operand if isinstance(operand, str) else self.constant(operand) for operand in inputs]
        self.nodes.append(helper.make_node(kind, names, outputs, name=name, **attributes))
        return outputs

    def slice(self, value: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """``value[start:stop:step]`` along one axis."""
        return self.op("Slice", value, ints(start), ints(stop), ints(axis), ints(step))

    def split(self, value: str, axis: int, sizes: Sequence[int]) -> tuple[str, ...]:
        """Split a value along one axis into parts of the given sizes; returns the value itself for one part."""
        return (
            (value,) if len(sizes) == 1 else self.ops("Split", [value, ints(*sizes)], len(sizes), axis=axis)
        )

    def concat(self, values: Sequence[str], axis: int) -> str:
        """Concatenate values along one axis; returns the value itself if there is only one."""
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=axis)

    def reduce_max(self, value: str, axis: int) -> str:
        """The maximum along one axis, which is dropped."""
        if self.opset < 18:  # the axes became an input in opset 18
            return self.op("ReduceMax", value, axes=[axis], keepdims=0)
        return self.op("ReduceMax", value, ints(axis), keepdims=0)

    def constant(self, value: npt.NDArray[Any] | np.generic) -> str:
        """The name of an initializer with this value."""
        array = np.asarray(value)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.named(self._name("const"), array)
        return self._constants[key]

    def named(self, name: str, value: npt.NDArray[Any] | np.generic) -> str:
        """An initializer of exactly this name that is not shared: an engine may replace it."""
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def alias(self, value: str, name: str) -> str:
        """Give a value a second name of exactly this form: an Identity node, which engines remove."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=self._name("Identity")))
        return name

    def cast_to(self, value: str, name: str, elem_type: int) -> str:
        """The value in another type, under exactly this name."""
        self.nodes.append(helper.make_node("Cast", [value], [name], name=self._name("Cast"), to=elem_type))
        return name

    def flush(self, *, first: bool = False) -> None:
        """Write the nodes to the graph: before all others if `first`, else after them."""
        if first:
            rest = list(self.graph.node)
            del self.graph.node[:]
            self.graph.node.extend([*self.nodes, *rest])
        else:
            self.graph.node.extend(self.nodes)
        self.nodes = []

    def _name(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{self.prefix}{kind}_{self._counts[kind]}"


def ints(*values: int) -> npt.NDArray[np.int64]:
    """A 1-D int64 constant, the type of ONNX axes, sizes and shapes."""
    return np.array(values, np.int64)
