"""Weights of a graph as inputs, in the graph, or in a file beside it (ONNX external data).

A protobuf message holds less than 2 GB. Graphs are therefore changed without their weights, which are inputs meanwhile.
The names of external data's entries are those of onnx.proto: location, offset, length.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision.storage.sha256 import sha256_of_file

Arrays = Mapping[str, npt.NDArray[Any]]
HASH_KEY = "edgevision.weights.sha256"
"""Metadata: hash of the external file, so that the hash of the ONNX file depends on its weights."""
ALIGNMENT = 4096
"""Bytes: a page, so that engines can map the file into memory."""
SMALLEST = 4096
"""Bytes: smaller weights stay in the graph."""
_LAYOUTS = ("Transpose", "Unsqueeze")


def with_folded_layouts(network: onnx.ModelProto, weights: Arrays) -> tuple[onnx.ModelProto, Arrays]:
    """Apply nodes that only change a weight's layout to the weight itself; arrays are views where possible."""
    found = dict(weights)
    stored = {tensor.name: tensor for tensor in network.graph.initializer}
    result = onnx.ModelProto()
    result.CopyFrom(network)
    kept = []
    for node in result.graph.node:
        source = node.input[0] if node.input else ""
        if node.op_type not in _LAYOUTS or source not in found:
            kept.append(node)
            continue
        if node.op_type == "Transpose":
            order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
            found[node.output[0]] = np.transpose(found[source], order)
        else:
            axes = numpy_helper.to_array(stored[node.input[1]]).tolist()
            found[node.output[0]] = np.expand_dims(found[source], tuple(axes))
    return _with_nodes(result, kept, weights, found)


def _with_nodes(
    model: onnx.ModelProto, kept: list[onnx.NodeProto], weights: Arrays, found: Arrays
) -> tuple[onnx.ModelProto, Arrays]:
    """The model with these nodes, and those of the found weights that they read as inputs instead of `weights`."""
    del model.graph.node[:]
    model.graph.node.extend(kept)
    given = [value for value in model.graph.input if value.name not in weights]
    read = {name for node in kept for name in node.input}
    used = {name: array for name, array in found.items() if name in read}
    del model.graph.input[:]
    model.graph.input.extend([*given, *(_input(name, array) for name, array in used.items())])
    return model, used


def _input(name: str, array: npt.NDArray[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def with_weights(network: onnx.ModelProto, weights: Arrays, file: Path | None) -> onnx.ModelProto:
    """The graph with its weights instead of the inputs of their names.

    They are written to `file`, one after another, if there is one. The graph then names it, and its hash is in the
    metadata.
    """
    result = _without_inputs(network, weights)
    if file is None:
        for name, array in weights.items():
            result.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return result
    with file.open("wb") as stream:
        for name, array in weights.items():
            if array.nbytes < SMALLEST:
                result.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
                continue
            stream.write(bytes(-stream.tell() % ALIGNMENT))
            result.graph.initializer.append(_external(name, array, file.name, stream.tell()))
            np.ascontiguousarray(array).tofile(stream)
    result.metadata_props.add(key=HASH_KEY, value=sha256_of_file(file))
    return result


def _external(name: str, array: npt.NDArray[Any], location: str, offset: int) -> TensorProto:
    tensor = TensorProto(
        name=name,
        dims=array.shape,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", location), ("offset", offset), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _without_inputs(network: onnx.ModelProto, weights: Arrays) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(network)
    given = [value for value in result.graph.input if value.name not in weights]
    del result.graph.input[:]
    result.graph.input.extend(given)
    kept = [entry for entry in result.metadata_props if entry.key != HASH_KEY]
    del result.metadata_props[:]
    result.metadata_props.extend(kept)
    return result


def external_weights(model: onnx.ModelProto, folder: Path) -> Arrays:
    """The external weights of a graph that was loaded without them, mapped from their files."""
    found = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            facts = {entry.key: entry.value for entry in tensor.external_data}
            found[tensor.name] = np.memmap(
                folder / facts["location"],
                helper.tensor_dtype_to_np_dtype(tensor.data_type),
                "r",
                int(facts.get("offset", 0)),
                tuple(tensor.dims),
            )
    return found


def without_weights(model: onnx.ModelProto, weights: Arrays) -> onnx.ModelProto:
    """The graph with these weights as inputs."""
    result = _without_inputs(model, {})
    kept = [tensor for tensor in result.graph.initializer if tensor.name not in weights]
    del result.graph.initializer[:]
    result.graph.initializer.extend(kept)
    result.graph.input.extend(_input(name, array) for name, array in weights.items())
    return result


def with_references(network: onnx.ModelProto, model: onnx.ModelProto, weights: Arrays) -> onnx.ModelProto:
    """The graph with the external weights of `model`, which stay where they are."""
    result = _without_inputs(network, weights)
    result.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in weights)
    return result


def half_weights(network: onnx.ModelProto, weights: Arrays) -> tuple[onnx.ModelProto, Arrays]:
    """The FP16 graph with FP16 weights instead of casts of float32 ones.

    A weight that is read as both is there twice.
    """
    result = onnx.ModelProto()
    result.CopyFrom(network)
    found: dict[str, npt.NDArray[Any]] = {}
    kept = []
    for node in result.graph.node:
        to = next((a.i for a in node.attribute if a.name == "to"), None)
        if node.op_type == "Cast" and to == TensorProto.FLOAT16 and node.input[0] in weights:
            found[node.output[0]] = weights[node.input[0]].astype(np.float16)
        else:
            kept.append(node)
    return _with_nodes(result, kept, weights, {**found, **weights})
