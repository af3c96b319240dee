"""Writes, reads and checks the contract in an ONNX file: opset, names, shapes and the embedded spec."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import inliner

from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR
from edgevision.contract.spec import METADATA_KEY, ModelSpec, TensorSpec
from edgevision.errors import GraphError, first_line
from edgevision.graph.builder import OPSET, OPSETS
from edgevision.graph.heads.head import NetworkOutput
from edgevision.graph.nms import CANDIDATES
from edgevision.graph.surgery import avoid_reserved_names, describe_value, drop_stale, walk
from edgevision.storage.codec import DecodeError

OLDEST_OPSET = 9
"""Older graphs are rejected: the version converter changes their meaning."""

_DOMAINS = ("", "ai.onnx")
_SHOWN = 4
_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors")


@dataclass(frozen=True, slots=True)
class GraphDescription:
    """Inputs, outputs and operators of an ONNX file."""

    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: int
    operators: tuple[tuple[str, int], ...]
    """(operator, count), most frequent first."""

    def lines(self) -> list[str]:
        """A readable form, one fact on each line."""
        operators = ", ".join(f"{count} {name}" for name, count in self.operators)
        return [
            f"opset      {self.opset}",
            *[f"input      {value}" for value in self.inputs],
            *[f"output     {value}" for value in self.outputs],
            f"parameters {self.parameters:,}",
            f"operators  {operators}",
        ]


def _why_unreadable(path: Path, error: Exception) -> str:
    """The reason of a failed load; external weights are the cause if the graph loads without them."""
    try:
        onnx.load(str(path), load_external_data=False)
    except Exception:  # as in `load_model`
        if path.suffix in _CHECKPOINTS:
            return f"{path} is a checkpoint by its name, not an ONNX file; run `edgevision export {path} -o BUNDLE`"
        return f"{path} is not an ONNX file, or it is truncated; compare its size with the original's"
    return (
        f"{path} has weights in another file, which cannot be read: {first_line(error)}; put external data in the"
        " folder of the model"
    )


def load_model(path: Path, *, external: bool = True) -> onnx.ModelProto:
    """Read an ONNX file; raises `GraphError` if it is invalid or unreadable.

    Without `external`, weights in other files are not read.
    """
    try:
        model = onnx.load(str(path), load_external_data=external)
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # protobuf's errors depend on the installed implementation
        raise GraphError(_why_unreadable(path, error)) from error
    if not model.graph.node or not model.opset_import:
        raise GraphError(f"{path} is not an ONNX file: it holds no graph")
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """The opset of the standard operators; raises `GraphError` if the model names none."""
    for entry in model.opset_import:
        if entry.domain in _DOMAINS:
            return int(entry.version)
    raise GraphError("the graph names no opset of the standard operators")


def prepare_network(network: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a bare network in an opset of `OPSETS`, without local functions and reserved names.

    Raises `GraphError` for an opset or operators that the contract does not support, and for a graph that already
    follows the contract.
    """
    if any(p.key == METADATA_KEY for p in network.metadata_props):
        raise GraphError("the graph already follows the contract: it takes frames and contains a spec")
    model = onnx.ModelProto()
    model.CopyFrom(network)
    if model.functions:
        model = inliner.inline_local_functions(model)
        del model.functions[:]
    drop_stale(model)
    foreign = sorted(
        {f"{n.domain}.{n.op_type}" for g in walk(model.graph) for n in g.node if n.domain not in _DOMAINS}
    )
    if foreign:
        more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        raise GraphError(
            f"the graph uses the operators {', '.join(foreign[:_SHOWN])}{more}; expected standard ONNX operators:"
            " export it without that runtime's optimizations and plugins"
        )
    model = _converted(model, opset_of(model))
    standard = [entry for entry in model.opset_import if entry.domain in _DOMAINS]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    # The oldest version that the opset allows, so that old engines can read the file.
    model.ir_version = onnx.helper.find_min_ir_version_for(standard)
    avoid_reserved_names(model.graph)
    return model


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    if opset in OPSETS:
        return model
    if not OLDEST_OPSET <= opset < OPSETS.start:
        raise GraphError(
            f"the graph has opset {opset}; expected {OLDEST_OPSET} to {OPSETS.stop - 1};"
            f" export it with opset {OPSET}"
        )
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises arbitrary C++ errors
        reason = first_line(error)
        raise GraphError(f"the graph cannot be converted from opset {opset} to {OPSET}: {reason}") from error


def attach_metadata(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Write the spec into the model, in place, so that the file can run on its own."""
    kept = [p for p in model.metadata_props if p.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=spec.to_json())
    model.producer_name = "edgevision"
    model.graph.name = spec.name


def read_spec(model: onnx.ModelProto) -> ModelSpec:
    """The spec that `attach_metadata` wrote; raises `GraphError` if it is missing or invalid."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            try:
                return ModelSpec.from_json(entry.value)
            except DecodeError as error:
                raise GraphError(f"the spec in the graph's metadata cannot be read: {error}") from error
    raise GraphError("the graph contains no edgevision spec; add one with: edgevision adopt")


def check_graph(model: onnx.ModelProto) -> None:
    """Raise `GraphError` unless the graph is valid ONNX with consistent types and shapes."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GraphError(f"the graph is not valid ONNX: {first_line(error)}") from error


def check_contract(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Raise `GraphError` unless the graph is valid and its inputs and outputs match the spec."""
    check_graph(model)
    check_interface(model, spec)


def check_interface(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """`check_contract` without the check of the graph itself, for one whose weights are in another file."""
    _check_values("input", model.graph.input, spec.inputs, spec)
    _check_values("output", model.graph.output, spec.outputs, spec)
    opset = opset_of(model)
    if opset not in OPSETS:
        raise GraphError(f"the graph has opset {opset}; expected {OPSETS.start} to {OPSETS.stop - 1}")
    stored = {tensor.name for tensor in model.graph.initializer}
    missing = [name for name in (IOU_THRESHOLD, SCORE_FLOOR) if name not in stored]
    if spec.nms is not None and missing and not _decides_itself(model):
        raise GraphError(f"the graph lacks the replaceable initializers {', '.join(missing)}")


def _decides_itself(model: onnx.ModelProto) -> bool:
    """True if the graph has no NMS candidates: the network returns finished boxes."""
    return not any(CANDIDATES[1] in node.output for node in model.graph.node)


def _check_values(kind: str, values: object, expected: tuple[TensorSpec, ...], spec: ModelSpec) -> None:
    batch = spec.batch.max if spec.batch.static else None
    received = tuple(str(describe_value(value)) for value in values)  # type: ignore[attr-defined]
    wanted = tuple(str(NetworkOutput(t.name, t.dtype, (batch, *t.shape[1:]))) for t in expected)
    if received != wanted:
        raise GraphError(
            f"the graph's {kind}s are {'; '.join(received)}; the spec expects {'; '.join(wanted)}"
        )


def with_candidates(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that also outputs the candidates of NMS: outputs `nms.CANDIDATES`.

    With them `edgevision.contract.nms.steps_needed` counts the steps that real frames need. Raises `GraphError` if the
    graph has no NMS.
    """
    if _decides_itself(model):
        raise GraphError("the graph has no NMS: its network returns finished boxes")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    types = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT, onnx.TensorProto.INT32)
    for name, elem_type, rank in zip(CANDIDATES, types, (3, 2, 2), strict=True):
        copy.graph.output.append(onnx.helper.make_tensor_value_info(name, elem_type, [None] * rank))
    return copy


def with_outputs(model: onnx.ModelProto, names: tuple[str, ...]) -> onnx.ModelProto:
    """A copy that returns values of its nodes, and nothing else."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    del copy.graph.output[:]
    for name in names:
        elem_type = known[name].type.tensor_type.elem_type if name in known else onnx.TensorProto.FLOAT
        copy.graph.output.append(onnx.helper.make_tensor_value_info(name, elem_type, None))
    return copy


def describe(model: onnx.ModelProto) -> GraphDescription:
    """Describe a graph's inputs, outputs and operators."""
    stored = {tensor.name for tensor in model.graph.initializer}
    counts = collections.Counter(node.op_type for graph in walk(model.graph) for node in graph.node)
    return GraphDescription(
        opset_of(model),
        tuple(str(describe_value(v)) for v in model.graph.input if v.name not in stored),
        tuple(str(describe_value(v)) for v in model.graph.output),
        sum(_length(tensor) for graph in walk(model.graph) for tensor in graph.initializer),
        tuple(counts.most_common()),
    )


def _length(tensor: onnx.TensorProto) -> int:
    length = 1
    for dim in tensor.dims:
        length *= dim
    return length
