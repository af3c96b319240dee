"""Reads and rewires third-party graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import helper

from edgevision.contract.spec import BatchRange
from edgevision.errors import GraphError, first_line
from edgevision.graph.heads.head import NetworkOutput

BATCH = "batch"
"""Name of a dynamic batch dimension."""

RENAMED = "network/"
"""Prefix of values of a network whose names are reserved."""

_RESERVED = ("frames", "boxes", "scores", "labels", "keypoints")
_RESERVED_PREFIXES = ("pre/", "post/", "nms.")


def network_input(graph: onnx.GraphProto) -> onnx.ValueInfoProto:
    """The one input that is not an initializer; raises `GraphError` if there are several or none."""
    inputs = graph_inputs(graph)
    if len(inputs) != 1:
        listed = "; ".join(str(describe_value(value)) for value in inputs) or "none"
        raise GraphError(f"the network has {len(inputs)} inputs ({listed}); expected one, the image")
    return inputs[0]


def graph_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are not initializers, in order."""
    stored = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in stored]


def describe_value(value: onnx.ValueInfoProto) -> NetworkOutput:
    """Name, dtype and shape of a graph's input or output; negative lengths, as Paddle writes them, are dynamic.

    The dtype of a value that is not a tensor is its kind, such as "sequence".
    """
    kind = value.type.WhichOneof("value") or "unknown"
    if kind != "tensor_type":
        return NetworkOutput(value.name, kind.removesuffix("_type"), ())
    tensor = value.type.tensor_type
    shape = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in tensor.shape.dim
    )
    if tensor.elem_type == onnx.TensorProto.STRING:
        return NetworkOutput(value.name, "string", shape)
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    except (KeyError, TypeError):
        dtype = "unknown"
    return NetworkOutput(value.name, dtype, shape)


def walk(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph itself and every graph nested in its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for nested in (attribute.g, *attribute.graphs):
                if nested.node or nested.output:
                    yield from walk(nested)


def redirect(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Redirect every reader of the value `old` to `new`, in place."""
    _rewrite_inputs(graph, lambda name: new if name == old else name)


def avoid_reserved_names(graph: onnx.GraphProto) -> None:
    """Rename values and nodes that have one of the contract's names, in place."""

    def rename(name: str) -> str:
        reserved = name in _RESERVED or name.startswith(_RESERVED_PREFIXES)
        return f"{RENAMED}{name}" if reserved else name

    _rewrite_inputs(graph, rename)
    for part in walk(graph):
        for node in part.node:
            node.name = rename(node.name)
            for index, name in enumerate(node.output):
                node.output[index] = rename(name)
        for named in (*part.initializer, *part.input, *part.output, *part.value_info):
            named.name = rename(named.name)


def _rewrite_inputs(graph: onnx.GraphProto, rename: Callable[[str], str]) -> None:
    for part in walk(graph):
        for node in part.node:
            for index, name in enumerate(node.input):
                node.input[index] = rename(name)
        # The outputs of a nested graph are reads too: they may name a value of the outer graph.
        if part is not graph:
            for value in part.output:
                value.name = rename(value.name)


def drop_stale(model: onnx.ModelProto) -> None:
    """Remove recorded shapes, lengths that state nothing, and inputs that only repeat initializers, in place."""
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    del graph.input[:]
    graph.input.extend(inputs)
    for part in walk(graph):
        del part.value_info[:]
        for value in (*part.input, *part.output):
            _forget_unknown_lengths(value)


def _forget_unknown_lengths(value: onnx.ValueInfoProto) -> None:
    """Clear negative lengths and names such as ``?``: shape inference would take two of one name for equal."""
    if not value.type.HasField("tensor_type"):
        return
    for dim in value.type.tensor_type.shape.dim if value.type.tensor_type.HasField("shape") else ():
        if dim.HasField("dim_value"):
            unknown = dim.dim_value < 0
        else:
            unknown = not any(character.isalnum() for character in dim.dim_param)
        if unknown:
            dim.Clear()


def set_batch(graph: onnx.GraphProto, batch: BatchRange) -> None:
    """Set the batch of the network's input, in place; raises `GraphError` if the network has a different fixed one."""
    value = network_input(graph)
    if not value.type.tensor_type.shape.dim:
        raise GraphError(f"the network's input {value.name} has no shape; expected [B, 3, H, W]")
    set_batch_of(value, batch)


def set_batch_of(value: onnx.ValueInfoProto, batch: BatchRange) -> None:
    """`set_batch` for one of several inputs."""
    dims = value.type.tensor_type.shape.dim
    if dims[0].HasField("dim_value") and not (batch.static and dims[0].dim_value == batch.max):
        raise GraphError(
            f"the network was made for batches of {dims[0].dim_value}, not {batch} ({describe_value(value)});"
            " choose that batch, or export the network with a dynamic one"
        )
    if batch.static:
        dims[0].dim_value = batch.max
    else:
        dims[0].dim_param = BATCH


def set_input(graph: onnx.GraphProto, size_wh: tuple[int, int], batch: BatchRange) -> None:
    """Set size and batch of an image input ``[B, 3, H, W]``, in place; raises `GraphError` for another fixed batch."""
    set_batch(graph, batch)
    dims = network_input(graph).type.tensor_type.shape.dim
    for dim, length in zip(dims[1:], (3, size_wh[1], size_wh[0]), strict=True):
        dim.dim_value = length


def inferred_outputs(model: onnx.ModelProto) -> tuple[NetworkOutput, ...]:
    """The network's outputs with every length that follows from the input's shape.

    Raises `GraphError` if shape inference fails.
    """
    blank = onnx.ModelProto()
    blank.CopyFrom(model)
    for value in blank.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(blank, data_prop=True)
    except Exception as error:  # it raises its own errors, and protobuf's for a model above 2 GiB
        raise GraphError(f"the shapes of the network cannot be inferred: {first_line(error)}") from error
    return tuple(
        describe_value(
            found
            if not found.type.HasField("tensor_type") or found.type.tensor_type.HasField("shape")
            else declared
        )
        for found, declared in zip(inferred.graph.output, model.graph.output, strict=True)
    )


def with_named_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a unique name."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    seen: set[str] = set()
    for index, node in enumerate(copy.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{index}"
        seen.add(node.name)
    return copy
