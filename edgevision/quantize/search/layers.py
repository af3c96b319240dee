"""Measures the error of each layer in lower precision, to find the layer that breaks a graph.

A layer's own error is the difference between its output and its float weights' output for the same input. The input is
that of the lower-precision layer before quantization. Errors of earlier layers therefore do not add up, and the named
layer is the broken one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from edgevision.bundle.folder import CheckRecord
from edgevision.contract.inputs import Batch
from edgevision.contract.spec import Precision
from edgevision.engines.ort_settings import cpu_session, named_inputs
from edgevision.errors import GraphError, UsageError, first_line
from edgevision.graph.contract import load_model, opset_of
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.signedness import DEQUANTIZE, QUANTIZE

LIMITS: dict[Precision, float] = {
    # Rounding to 11 bits: up to 0.003 was measured in YOLOv5n.
    "fp16": 0.05,
    # Up to 0.18 was measured in YOLOv5n, calibrated by maximum. A weight scale times 4 gives 3, also in a single
    # channel.
    "int8": 1.0,
    "fp8": 1.0,
}
"""The largest own error of a layer, in its worst channel, that counts as rounding."""

_QUIET = 0.1
"""Minimum power of a channel as a share of its layer: rounding of quieter channels is that of the layer."""

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_PASSING = (QUANTIZE, DEQUANTIZE, "Cast")


@dataclass(frozen=True, slots=True)
class LayerError:
    """A layer's own error: RMS of the difference over RMS of the float output, in the worst channel."""

    layer: str
    error: float
    channel: int


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer in both graphs."""

    name: str
    source: str
    """Input of the lower-precision layer, before quantization."""
    node: onnx.NodeProto
    reference: onnx.NodeProto


def layer_errors(
    reference: onnx.ModelProto, model: onnx.ModelProto, batches: Iterable[Batch]
) -> tuple[LayerError, ...]:
    """The own error of every layer with weights that both graphs have by the same name, in the order of the graph.

    Runs in ONNX Runtime, one batch at a time. Raises `UsageError` if there is no frame.
    """
    layers = _shared_layers(reference, model)
    if not layers:
        return ()
    session = _session(_with_shadows(reference, model, layers))
    sums: list[npt.NDArray[np.float64]] = []
    for frames in batches:
        answers: list[npt.NDArray[np.float64]] = [
            np.asarray(answer, np.float64) for answer in session.run(None, named_inputs(session, frames))
        ]
        sums = answers if not sums else [a + b for a, b in zip(sums, answers, strict=True)]
    if not sums:
        raise UsageError("no frames to compare layers with; expected at least one")
    return tuple(
        _layer_error(layer.name, sums[2 * index], sums[2 * index + 1]) for index, layer in enumerate(layers)
    )


def check_layers(
    reference: Path, graph: Path, precision: Precision, frames: Batch, batch: int
) -> tuple[CheckRecord, LayerError | None]:
    """Compare the layers of a graph file with the float graph's: the worst own error, and the first broken layer.

    FP16 values are rounded like FP16 arithmetic (`fp16_emulation`). Raises `GraphError` for a file that is not an ONNX
    graph.
    """
    model = emulated_half(load_model(graph))
    rows = [
        np.arange(start, start + batch).clip(max=len(frames) - 1) for start in range(0, len(frames), batch)
    ]
    errors = layer_errors(load_model(reference), model, (frames[row] for row in rows))
    worst = max(errors, key=lambda error: error.error, default=LayerError("none", 0.0, 0))
    check = CheckRecord(f"own error of the worst layer, {worst.layer}", worst.error, "<=", LIMITS[precision])
    return check, first_broken_layer(errors, precision)


def first_broken_layer(errors: Iterable[LayerError], precision: Precision) -> LayerError | None:
    """The first layer whose own error exceeds the limit or is NaN; None if there is none."""
    return next((error for error in errors if not error.error <= LIMITS[precision]), None)


def _layer_error(
    name: str,
    differences: npt.NDArray[np.float64],
    answers: npt.NDArray[np.float64],
) -> LayerError:
    floor = max(_QUIET**2 * float(answers.mean()), float(np.finfo(np.float32).tiny))
    ratios = np.sqrt(differences / np.maximum(answers, floor))
    ratios[~np.isfinite(ratios)] = np.inf
    worst = int(ratios.argmax())
    return LayerError(name, float(ratios[worst]), worst)


def _shared_layers(reference: onnx.ModelProto, model: onnx.ModelProto) -> list[_Layer]:
    stored = {tensor.name for tensor in reference.graph.initializer}
    known = {
        node.name: node
        for node in reference.graph.node
        if node.op_type in _WEIGHTED and node.name and all(name in stored for name in node.input[1:])
    }
    producer = {name: node for node in model.graph.node for name in node.output}
    layers = []
    for node in model.graph.node:
        twin = known.get(node.name)
        if twin is None or twin.op_type != node.op_type or node.input[0] not in producer:
            continue
        source = node.input[0]
        while source in producer and producer[source].op_type in _PASSING and _is_float(producer[source]):
            source = producer[source].input[0]
        layers.append(_Layer(node.name, source, node, twin))
    return layers


def _is_float(node: onnx.NodeProto) -> bool:
    """True unless it is the cast that converts pixels to floats."""
    return node.op_type != "Cast" or not node.name.startswith("pre/")


def _with_shadows(
    reference: onnx.ModelProto, model: onnx.ModelProto, layers: list[_Layer]
) -> onnx.ModelProto:
    """A copy that outputs, for each layer and channel, the sums of squared differences and of squared float outputs."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    del graph.output[:]
    weights = {tensor.name: tensor for tensor in reference.graph.initializer}
    ranks = _ranks(model)
    for layer in layers:
        prefix = f"shadow/{layer.name}/"
        inputs = []
        for name in layer.reference.input[1:]:
            tensor = graph.initializer.add()
            tensor.CopyFrom(weights[name])
            tensor.name = f"{prefix}{name}"
            inputs.append(tensor.name)
        shadow = onnx.NodeProto()
        shadow.CopyFrom(layer.reference)
        del shadow.input[:], shadow.output[:]
        shadow.name = prefix
        shadow.input.extend([f"{prefix}source", *inputs])
        shadow.output.append(f"{prefix}float")
        rank = ranks.get(layer.node.output[0], 4)
        channel = rank - 1 if layer.node.op_type in ("Gemm", "MatMul") else 1
        axes = np.array([axis for axis in range(rank) if axis != channel], np.int64)
        graph.initializer.append(onnx.numpy_helper.from_array(axes, f"{prefix}axes"))
        steps = [
            helper.make_node("Cast", [layer.source], [f"{prefix}source"], to=TensorProto.FLOAT),
            shadow,
            helper.make_node("Cast", [layer.node.output[0]], [f"{prefix}actual"], to=TensorProto.FLOAT),
            helper.make_node("Sub", [f"{prefix}actual", f"{prefix}float"], [f"{prefix}difference"]),
        ]
        for value, result in (("difference", "error"), ("float", "signal")):
            steps.append(helper.make_node("Mul", [f"{prefix}{value}"] * 2, [f"{prefix}{value}2"]))
            summed = [f"{prefix}{value}2", f"{prefix}axes"]
            steps.append(helper.make_node("ReduceSum", summed, [f"{prefix}{result}"], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(f"{prefix}{result}", TensorProto.FLOAT, None))
        graph.node.extend(steps)
    return probed


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.value_info, *inferred.graph.output)
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values}


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    try:
        return cpu_session(model.SerializeToString())
    except Exception as error:  # ONNX Runtime's own errors share no base class
        raise GraphError(
            f"ONNX Runtime cannot open the graph (opset {opset_of(model)}) to compare layers: {first_line(error)}"
        ) from error
