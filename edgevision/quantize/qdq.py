"""Inserts Q/DQ into a float graph: symmetric INT8, zero-point 0, weights by output channel."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR
from edgevision.quantize.calibration.ranges import INT8_MAX, Ranges
from edgevision.quantize.placement import Edge, QdqPlacement

PREFIX = "int8/"
"""Name prefix of every inserted node and value."""


def quantized(
    model: onnx.ModelProto, placement: QdqPlacement, ranges: Ranges, kept_float: Collection[str] = ()
) -> onnx.ModelProto:
    """A copy of the graph with Q/DQ on the placement's edges, except for the weighted nodes in `kept_float`.

    Each tensor has one Q/DQ pair that all its INT8 readers share; float readers use the tensor itself. Weights are
    stored in int8 and read through a DequantizeLinear.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    edges, weights = remaining_edges(model, placement, kept_float)
    scales = shared_scales(model, edges, ranges)
    writer = _Writer(copy, placement.largest_weight)
    for edge in edges:
        writer.read_through(edge, writer.activation(edge.tensor, scales[edge.tensor]))
    for edge in weights:
        writer.read_through(edge, writer.weights(edge))
    writer.finish()
    return copy


def remaining_edges(
    model: onnx.ModelProto, placement: QdqPlacement, kept_float: Collection[str]
) -> tuple[tuple[Edge, ...], tuple[Edge, ...]]:
    """Activation and weight edges that stay in INT8 when some weighted nodes return to float.

    Additions, poolings and similar nodes carry INT8 only for the arithmetic behind them. If every weighted node that
    reads their output is in float, their inputs are in float too.
    """
    weights = tuple(edge for edge in placement.weights if edge.node not in kept_float)
    working = {edge.node for edge in weights}
    placed = {edge.node for edge in placement.activations}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    serving: set[str] = set()
    for node in reversed(model.graph.node):  # in reverse topological order: readers come first
        followers = {reader.name for name in node.output for reader in readers.get(name, ())}
        passes = node.name in placed - placement.weighted_nodes or node.op_type in _PASSING
        if passes and followers & (working | serving):
            serving.add(node.name)
    edges = tuple(edge for edge in placement.activations if edge.node in working | serving)
    return edges, weights


_PASSING = ("Concat", "MaxPool", "Relu", "Reshape", "Resize", "Transpose")
"""Operators that pass INT8 values on to the arithmetic behind them."""


def shared_scales(model: onnx.ModelProto, edges: Collection[Edge], ranges: Ranges) -> dict[str, float]:
    """A scale for each tensor; the inputs of a Concat share one, or TensorRT would rescale each of them."""
    quantized_tensors = {edge.tensor for edge in edges}
    thresholds = {tensor: ranges.thresholds[tensor] for tensor in quantized_tensors}
    for node in model.graph.node:
        joined = [name for name in (*node.input, *node.output) if name in quantized_tensors]
        if node.op_type == "Concat" and len(joined) > 1:
            largest = max(thresholds[name] for name in joined)
            thresholds.update(dict.fromkeys(joined, largest))
    return {tensor: threshold / INT8_MAX or 1.0 for tensor, threshold in thresholds.items()}


def weight_scales(
    weights: npt.NDArray[np.float32], axis: int, largest: int = INT8_MAX
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """int8 weights and their scales along `axis`: the largest magnitude of a channel becomes `largest`."""
    others = tuple(index for index in range(weights.ndim) if index != axis)
    scales = np.abs(weights).max(axis=others) / largest
    scales = np.where(scales > 0, scales, 1.0).astype(np.float32)
    shape = [-1 if index == axis else 1 for index in range(weights.ndim)]
    steps = np.rint(weights / scales.reshape(shape))
    return np.clip(steps, -largest, largest).astype(np.int8), scales


class _Writer:
    """Adds nodes to a graph in place; equal requests share one node."""

    def __init__(self, model: onnx.ModelProto, largest_weight: int) -> None:
        self._graph = model.graph
        self._largest_weight = largest_weight
        self._nodes = {node.name: node for node in model.graph.node}
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._before: dict[str, list[onnx.NodeProto]] = {}
        self._values: dict[str, str] = {}

    def read_through(self, edge: Edge, value: str) -> None:
        """Make one input of one node read `value`."""
        self._nodes[edge.node].input[edge.index] = value

    def activation(self, tensor: str, scale: float) -> str:
        """The tensor behind its Q/DQ pair."""
        if tensor not in self._values:
            step = self._store(f"{tensor}/scale", np.asarray(scale, np.float32))
            zero = self._store(f"{tensor}/zero", np.zeros((), np.int8))
            whole, back = f"{PREFIX}{tensor}/q", f"{PREFIX}{tensor}/dq"
            nodes = [
                helper.make_node("QuantizeLinear", [tensor, step, zero], [whole], name=whole),
                helper.make_node("DequantizeLinear", [whole, step, zero], [back], name=back),
            ]
            self._before[tensor] = nodes
            self._values[tensor] = back
        return self._values[tensor]

    def weights(self, edge: Edge) -> str:
        """Stored weights behind a DequantizeLinear with a scale for each output channel."""
        node = self._nodes[edge.node]
        array = numpy_helper.to_array(self._stored[edge.tensor]).astype(np.float32)
        axis = output_channel_axis(node, array.ndim)
        key = f"{edge.tensor}@{axis}"
        if key not in self._values:
            whole, scales = weight_scales(array, axis, self._largest_weight)
            names = [
                self._store(f"{edge.tensor}/{axis}/int8", whole),
                self._store(f"{edge.tensor}/{axis}/scale", scales),
                self._store(f"{edge.tensor}/{axis}/zero", np.zeros(len(scales), np.int8)),
            ]
            back = f"{PREFIX}{edge.tensor}/{axis}/dq"
            self._before[key] = [helper.make_node("DequantizeLinear", names, [back], name=back, axis=axis)]
            self._values[key] = back
        return self._values[key]

    def finish(self) -> None:
        """Insert the new nodes right behind their inputs, and remove weights without readers."""
        ordered = [node for key, nodes in self._before.items() if "@" in key for node in nodes]
        pending = {key: nodes for key, nodes in self._before.items() if "@" not in key}
        for value in self._graph.input:
            ordered += pending.pop(value.name, [])
        for node in self._graph.node:
            ordered.append(node)
            for name in node.output:
                ordered += pending.pop(name, [])
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
        del self._graph.node[:]
        self._graph.node.extend(copies)
        used = {name for node in self._graph.node for name in node.input}
        used |= {value.name for value in self._graph.output}
        kept = [
            tensor
            for tensor in self._graph.initializer
            if tensor.name in used or tensor.name in (IOU_THRESHOLD, SCORE_FLOOR)
        ]
        copies_of_weights = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del self._graph.initializer[:]
        self._graph.initializer.extend(copies_of_weights)

    def _store(self, name: str, array: npt.NDArray[np.generic]) -> str:
        name = PREFIX + name
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name


def output_channel_axis(node: onnx.NodeProto, dimensions: int) -> int:
    """The axis of a weighted node's second input along which its output channels lie."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if transposed else dimensions - 1


def share_of(nodes: Collection[str], macs: Mapping[str, int]) -> float:
    """The share of all multiply-accumulates in these nodes, 0..1."""
    return sum(macs[name] for name in nodes if name in macs) / max(sum(macs.values()), 1)
