"""Placement of INT8 by modelopt's rules for TensorRT's fusions, recorded by node and input."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import modelopt.onnx.quantization as modelopt
import onnx

from edgevision.contract.inputs import Batch, arrays_of
from edgevision.errors import GraphError, first_line
from edgevision.graph.macs import WEIGHTED
from edgevision.graph.surgery import graph_inputs
from edgevision.quantize.calibration.ranges import INT8_MAX

GRAFT = (r"pre/.*", r"post/.*")
"""Nodes that are not quantized: the uint8 input and its scaling, decoding and NMS."""


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """One input of one node that is read through Q/DQ."""

    node: str
    index: int
    tensor: str


@dataclass(frozen=True, slots=True)
class QdqPlacement:
    """All quantized edges: activations with one scale each, weights with one scale for each output channel."""

    activations: tuple[Edge, ...]
    weights: tuple[Edge, ...]
    largest_weight: int = INT8_MAX
    """Largest magnitude of stored weights."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Activations whose ranges are needed, without duplicates, sorted."""
        return tuple(sorted({edge.tensor for edge in self.activations}))

    @property
    def weighted_nodes(self) -> frozenset[str]:
        """Nodes that multiply in INT8."""
        return frozenset(edge.node for edge in self.weights)


def is_quantized(model: onnx.ModelProto) -> bool:
    """True if the graph already contains Q/DQ, as after quantization-aware training."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def placement_by_modelopt(model: onnx.ModelProto, batch: Batch) -> QdqPlacement:
    """Run modelopt on a graph with unique node names, and record where it inserts Q/DQ.

    Only the places are used. modelopt's ranges come from a calibrator that keeps every activation of every image, and
    it raises the graph to opset 19, which TensorRT 8.6 does not support. One batch is therefore enough, and
    a graph of the search takes milliseconds to build. Raises `GraphError` if modelopt fails.
    """
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "placed.onnx"
        onnx.save(model, source)
        run_modelopt(source, target, batch, "int8")
        placed = onnx.load(target)
    return _read_off(model, placed)


def run_modelopt(source: Path, target: Path, batch: Batch, mode: str) -> None:
    """Quantize `source` to `target` as "int8" or "fp8", without the graft; raises `GraphError` with its reason."""
    names = [value.name for value in graph_inputs(onnx.load(source, load_external_data=False).graph)]
    try:
        # It prints each of its steps, and warns of missing GPUs.
        quiet = contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO())
        with quiet[0], quiet[1], warnings.catch_warnings():
            warnings.simplefilter("ignore")
            modelopt.quantize(
                str(source),
                quantize_mode=mode,
                calibration_data=dict(zip(names, arrays_of(batch), strict=True)),
                calibration_method="max",
                calibration_eps=["cpu"],
                high_precision_dtype="fp32",
                nodes_to_exclude=list(GRAFT),
                output_path=str(target),
                log_level="ERROR",
            )
    except Exception as error:  # it raises any error of its passes
        raise GraphError(f"modelopt cannot quantize the graph: {first_line(error)}") from error
    if not target.is_file():
        raise GraphError("modelopt found nothing to quantize in the graph")


def _read_off(model: onnx.ModelProto, placed: onnx.ModelProto) -> QdqPlacement:
    """Edges of `model` that are read through a DequantizeLinear in `placed`, matched by node name and input."""
    stored = {tensor.name for tensor in model.graph.initializer}
    made_by = {name: node for node in placed.graph.node for name in node.output}
    quantized = {
        (node.name, index)
        for node in placed.graph.node
        for index, name in enumerate(node.input)
        if name in made_by and made_by[name].op_type == "DequantizeLinear"
    }
    activations: list[Edge] = []
    weights: list[Edge] = []
    for node in model.graph.node:
        for index, tensor in enumerate(node.input):
            if (node.name, index) in quantized and not node.name.startswith(("pre/", "post/")):
                is_weight = tensor in stored
                (weights if is_weight else activations).append(Edge(node.name, index, tensor))
    kinds = {node.name: node.op_type for node in model.graph.node}
    weights = [edge for edge in weights if kinds[edge.node] in WEIGHTED and edge.index == 1]
    if not weights:
        raise GraphError("modelopt found no convolution or matrix product to quantize in the graph")
    return QdqPlacement(tuple(activations), tuple(weights))
