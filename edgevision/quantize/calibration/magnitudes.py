"""Measures the largest magnitude of every value in a graph on real frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgevision.contract.inputs import Batch
from edgevision.engines.ort_settings import cpu_session, named_inputs, session_settings
from edgevision.errors import GraphError, UsageError, first_line

"""uint8 ``[B,H,W,3]``, BGR, in the graph's input format."""

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """The largest magnitude by tensor name over `frames` frames, of every float value that the graph computes."""

    frames: int
    largest: Mapping[str, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "largest", MappingProxyType(dict(self.largest)))


def probe_magnitudes(
    model: onnx.ModelProto,
    batches: Iterable[Batch],
    values: Collection[str] | None = None,
    *,
    folder: Path | None = None,
) -> Magnitudes:
    """Run the graph in ONNX Runtime and keep the largest magnitude of every float value, or of those in `values`.

    The graph computes the maxima, and frames are read one batch at a time, so memory does not grow with their number.
    Values computed from a stored infinity, which some detectors use as a mask, may be infinite. `folder` contains the
    files of weights that are not in the graph. Raises `GraphError`
    that names the first node with a NaN or any other infinity, `UsageError` if there are no frames.
    """
    names = [name for name in float_values(model) if values is None or name in values]
    session = _session(_with_probes(model, names, _behind_infinity(model)), session_settings(external=folder))
    largest = np.zeros(len(names))
    count = 0
    for frames in batches:
        found, broken = _probed(session, frames, len(names))
        if broken.any():
            raise _not_finite(model, names[int(broken.argmax())], count)
        largest = np.maximum(largest, found)
        count += len(frames)
    if not count:
        raise UsageError("no frames to probe the graph with; expected at least one image")
    return Magnitudes(count, dict(zip(names, largest.tolist(), strict=True)))


def non_finite_values(
    model: onnx.ModelProto, batches: Iterable[Batch], values: Collection[str] | None = None
) -> frozenset[str]:
    """The float values, or those of `values`, that are NaN or infinite in at least one batch."""
    names = [name for name in float_values(model) if values is None or name in values]
    settings = session_settings()
    # Optimizing a graph with some thousand outputs takes longer than running it.
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _session(_with_checks(model, names), settings)
    broken = np.zeros(len(names), bool)
    for frames in batches:
        broken |= ~np.isfinite(np.array(session.run(None, named_inputs(session, frames)), np.float64).ravel())
    return frozenset(name for name, bad in zip(names, broken, strict=True) if bad)


def _with_checks(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """A copy that outputs for each value a 0 that is NaN if the value is not finite."""
    checked = onnx.ModelProto()
    checked.CopyFrom(model)
    graph = checked.graph
    del graph.output[:]
    for index, name in enumerate(names):
        float32, zero, finite = (f"check/{index}/{step}" for step in ("float32", "zero", "finite"))
        graph.node.extend(
            [
                helper.make_node("Cast", [name], [float32], to=TensorProto.FLOAT),
                helper.make_node("Sub", [float32, float32], [zero]),
                helper.make_node("ReduceSum", [zero], [finite], keepdims=0),
            ]
        )
        graph.output.append(helper.make_tensor_value_info(finite, TensorProto.FLOAT, []))
    return checked


def _probed(
    session: onnxruntime.InferenceSession, frames: Batch, count: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Largest magnitude of each value, and whether its check is not 0."""
    answers = session.run(None, named_inputs(session, frames))
    found = np.array([float(np.max(answer)) for answer in answers[:count]])
    return found, np.array(
        [not np.array_equal(answer, np.zeros_like(answer)) for answer in answers[count:]], bool
    )


def _behind_infinity(model: onnx.ModelProto) -> frozenset[str]:
    """The values computed from a stored infinity, through any number of nodes."""
    reached = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type in _FLOATS
        and tensor.data_location != TensorProto.EXTERNAL
        and np.isinf(numpy_helper.to_array(tensor)).any()
    }
    for node in model.graph.node:
        constant = next(
            (a.t for a in node.attribute if a.name == "value" and node.op_type == "Constant"), None
        )
        infinite = constant is not None and bool(np.isinf(numpy_helper.to_array(constant)).any())
        if infinite or reached.intersection(node.input):
            reached.update(node.output)
    return frozenset(reached)


def float_values(model: onnx.ModelProto) -> list[str]:
    """The names of the float values that the graph's own nodes compute, in the order of the nodes."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.value_info, *inferred.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return [name for node in model.graph.node for name in node.output if types.get(name) in _FLOATS]


def _with_probes(model: onnx.ModelProto, names: list[str], infinite: Collection[str] = ()) -> onnx.ModelProto:
    """A copy that outputs each value's largest magnitude, then for each a check that is 0 if the value is valid.

    Valid are finite values, and for those in `infinite` also infinities.
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    del graph.output[:]
    for index, name in enumerate(names):
        float32, magnitude, zero, largest, finite = (
            f"probe/{index}/{step}" for step in ("float32", "magnitude", "zero", "largest", "finite")
        )
        graph.node.extend(
            [
                helper.make_node("Cast", [name], [float32], to=TensorProto.FLOAT),
                helper.make_node("Abs", [float32], [magnitude]),
                helper.make_node("ReduceMax", [magnitude], [largest], keepdims=0),
            ]
        )
        # A maximum may ignore NaN; a value minus itself is 0 unless it is NaN or infinite.
        check = [helper.make_node("Sub", [float32, float32], [zero])]
        if name in infinite:
            check = [
                helper.make_node("IsNaN", [float32], [f"{zero}/nan"]),
                helper.make_node("Cast", [f"{zero}/nan"], [zero], to=TensorProto.FLOAT),
            ]
        graph.node.extend([*check, helper.make_node("ReduceSum", [zero], [finite], keepdims=0)])
    for step in ("largest", "finite"):
        for index in range(len(names)):
            name = f"probe/{index}/{step}"
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
    return probed


def _session(
    model: onnx.ModelProto, settings: onnxruntime.SessionOptions | None = None
) -> onnxruntime.InferenceSession:
    try:
        return cpu_session(model.SerializeToString(), settings)
    except Exception as error:  # ONNX Runtime's own errors share no base class
        raise GraphError(f"ONNX Runtime cannot open the graph to probe it: {first_line(error)}") from error


def _not_finite(model: onnx.ModelProto, value: str, frame: int) -> GraphError:
    node = next(node for node in model.graph.node if value in node.output)
    return GraphError(
        f"{node.op_type} {node.name or value} returns NaN or infinity on frame {frame}; expected finite values: its"
        " weights, or changes to them, are invalid"
    )
