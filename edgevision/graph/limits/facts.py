"""Types, shapes and constants of a graph's values, as an ONNX parser infers them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from edgevision.errors import GraphError, first_line
from edgevision.graph.contract import opset_of, read_spec
from edgevision.graph.surgery import walk

Array = npt.NDArray[np.generic]

DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float32",  # every version reads float64 as float32
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.INT8: "int8",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.UINT8: "uint8",
    TensorProto.BOOL: "bool",
    TensorProto.FLOAT8E4M3FN: "float8",
    TensorProto.INT4: "int4",
}


@dataclass(frozen=True, slots=True, eq=False)
class GraphFacts:
    """A graph with the known facts of each value by name."""

    model: onnx.ModelProto
    opset: int
    nodes: tuple[onnx.NodeProto, ...]
    """Including those of nested graphs."""
    inputs: frozenset[str]
    dtypes: dict[str, str]
    """TensorRT's type names; ONNX's for types that TensorRT lacks."""
    shapes: dict[str, tuple[int | None, ...]]
    """None for a dynamic length; a dynamic batch has the largest size that the spec allows."""
    stored: dict[str, TensorProto]
    readers: dict[str, tuple[onnx.NodeProto, ...]]

    def constant(self, name: str) -> Array | None:
        """The values of a stored tensor; None for any other."""
        tensor = self.stored.get(name)
        return None if tensor is None else np.asarray(numpy_helper.to_array(tensor))


def graph_facts(model: onnx.ModelProto) -> GraphFacts:
    """Infer types and shapes; raises `GraphError` if they are inconsistent."""
    sized = _with_largest_batch(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(sized, strict_mode=True, data_prop=True)
    except Exception as error:  # its C++ raises errors without a common base class
        raise GraphError(f"types and shapes of the graph are inconsistent: {first_line(error)}") from error
    parts = list(walk(inferred.graph))
    stored = {tensor.name: tensor for part in parts for tensor in part.initializer}
    nodes = tuple(node for part in parts for node in part.node)
    for node in nodes:
        if node.op_type == "Constant":
            stored.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    dtypes = {name: _dtype(tensor.data_type) for name, tensor in stored.items()}
    shapes: dict[str, tuple[int | None, ...]] = {name: tuple(t.dims) for name, t in stored.items()}
    for part in parts:
        for value in (*part.value_info, *part.input, *part.output):
            tensor = value.type.tensor_type
            dtypes[value.name] = _dtype(tensor.elem_type)
            if tensor.HasField("shape"):
                shapes[value.name] = tuple(
                    dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim
                )
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return GraphFacts(
        model,
        opset_of(model),
        nodes,
        frozenset(value.name for value in inferred.graph.input if value.name not in stored),
        dtypes,
        shapes,
        stored,
        {name: tuple(found) for name, found in readers.items()},
    )


def _with_largest_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without recorded shapes; a dynamic batch gets the spec's maximum (1 without a spec)."""
    try:
        batch = read_spec(model).batch.max
    except GraphError:
        batch = 1
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in copy.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = batch
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copy


def _dtype(elem_type: int) -> str:
    return DTYPES.get(elem_type) or TensorProto.DataType.Name(elem_type).lower()
