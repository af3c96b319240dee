"""Checks a graph against the limits of a TensorRT version, and names the nodes and fixes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edgevision.errors import GraphError
from edgevision.graph.limits.facts import GraphFacts, graph_facts
from edgevision.graph.limits.versions import LIMITS, Limits, limits_named

_DOMAINS = ("", "ai.onnx")
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear")
_INT32 = np.iinfo(np.int32)
_RESIZE = {
    b"mode": (b"nearest", b"linear"),
    b"coordinate_transformation_mode": (
        b"half_pixel",
        b"pytorch_half_pixel",
        b"tf_half_pixel_for_nn",
        b"asymmetric",
        b"align_corners",
    ),
}
AGAIN = "export or adopt the model again with this version of edgevision"
REQUANTIZE = "quantize it again: edgevision quantize BUNDLE --target tensorrt"


@dataclass(frozen=True, slots=True)
class LimitFinding:
    """One part of a graph that a version does not support."""

    node: str
    """The node's name, or its first output; "the graph" for the graph as a whole."""
    operator: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        where = f"node {self.node} ({self.operator})" if self.operator else self.node
        return f"{where}: {self.reason}; {self.remedy}"


def unread(model: onnx.ModelProto | GraphFacts, limits: Limits) -> tuple[LimitFinding, ...]:
    """The parts of the graph that this version does not support; empty if it supports all of it.

    Raises `GraphError` for a graph with inconsistent types and shapes.
    """
    facts = model if isinstance(model, GraphFacts) else graph_facts(model)
    found = [*_of_graph(facts, limits), *_of_values(facts, limits)]
    for node in facts.nodes:
        for check in _CHECKS:
            found += [_finding(node, *pair) for pair in check(facts, node, limits)]
    return tuple(found)


def readable_by(model: onnx.ModelProto) -> tuple[tuple[Limits, tuple[LimitFinding, ...]], ...]:
    """Every version of the table with the parts that it does not support."""
    facts = graph_facts(model)
    return tuple((limits, unread(facts, limits)) for limits in LIMITS)


def readable_lines(model: onnx.ModelProto, old: onnx.ModelProto | None = None) -> list[str]:
    """A readable list: versions that read the graph, and the first problem of each other one.

    `old` is the graph's form for TensorRT 8.6.
    """
    try:
        found = {row.label: unread_ for row, unread_ in readable_by(model)}
    except GraphError as error:
        return [f"unknown: {error}"]
    notes = []
    if old is not None and found[LIMITS[0].label]:
        found[LIMITS[0].label] = unread(old, LIMITS[0])
        notes.append(f"{LIMITS[0].label} by its form of opset 17")
    read = [label for label, findings in found.items() if not findings]
    lines = [f"read by {', '.join(read) or 'no version of TensorRT'}", *notes]
    return lines + [f"not by {label}: {findings[0]}" for label, findings in found.items() if findings]


def require_named(model: onnx.ModelProto, names: Collection[str], what: str) -> None:
    """`require_readable` for rows by their names; raises `UsageError` for an unknown name."""
    for name in names:
        require_readable(model, limits_named(name), what)


def require_readable(model: onnx.ModelProto, limits: Limits, path: Path | str) -> None:
    """Raise `GraphError` with node, operator, reason and fix if this version does not read the graph."""
    found = unread(model, limits)
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        said = "; ".join(map(str, dict.fromkeys(found[:3])))
        raise GraphError(f"{limits.label} cannot read {path}: {said}{more}")


def _finding(node: onnx.NodeProto, reason: str, remedy: str) -> LimitFinding:
    return LimitFinding(node.name or next(iter(node.output), "?"), node.op_type, reason, remedy)


Pairs = Iterator[tuple[str, str]]
"""Reasons and fixes."""


def _of_graph(facts: GraphFacts, limits: Limits) -> Iterator[LimitFinding]:
    if facts.opset not in limits.opsets:
        known = f"{limits.opsets.start} to {limits.opsets.stop - 1}"
        quantized = any(node.op_type in _QUANTIZED for node in facts.nodes)
        remedy = REQUANTIZE if quantized else "export it with opset 17"
        yield LimitFinding(
            "the graph", "", f"its opset is {facts.opset}; {limits.label} supports {known}", remedy
        )
    for value in facts.model.graph.input:
        lengths = [dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim]
        if value.name in facts.inputs and not all(lengths[1:]):
            yield LimitFinding(
                f"input {value.name}",
                "",
                "a dimension other than the batch is dynamic; engines are built with a profile for the batch only",
                "export it with a fixed size: --size WxH",
            )


def _of_values(facts: GraphFacts, limits: Limits) -> Iterator[LimitFinding]:
    for name, shape in facts.shapes.items():
        if len(shape) > limits.dimensions:
            yield LimitFinding(
                f"value {name}",
                "",
                f"it has {len(shape)} dimensions; {limits.label} supports at most {limits.dimensions}",
                "export the model with fewer: join dimensions with Reshape before this node",
            )
        elements = int(np.prod([length or 1 for length in shape], dtype=object)) if shape else 1
        if limits.elements is not None and elements > limits.elements:
            kind = "constant" if name in facts.stored else "value"
            yield LimitFinding(
                f"{kind} {name}",
                "",
                f"it has {elements:,} elements; {limits.label} supports at most {limits.elements:,}",
                "use a smaller batch or size: --batch N, --size WxH",
            )
    for name, tensor in facts.stored.items():
        if tensor.data_type == onnx.TensorProto.UINT8 and not _only_zero_points(facts, name):
            yield LimitFinding(
                f"constant {name}",
                "",
                "TensorRT does not support uint8 constants",
                "store it as int32 or float32",
            )
        if not limits.int64 and tensor.data_type == onnx.TensorProto.INT64:
            yield from _clamped(facts, name, limits)


def _clamped(facts: GraphFacts, name: str, limits: Limits) -> Iterator[LimitFinding]:
    values = facts.constant(name)
    if values is None or not values.size:
        return
    # Slices to the end contain the largest int64; clamped they have the same meaning.
    slices = all(node.op_type == "Slice" for node in facts.readers.get(name, ()))
    if not slices and (values.min() < _INT32.min or values.max() > _INT32.max):
        reason = f"its int64 values reach {values.max():,}; {limits.label} clamps int64 to int32"
        yield LimitFinding(f"constant {name}", "", reason, "store values in the range of int32")


def _only_zero_points(facts: GraphFacts, name: str) -> bool:
    """A zero-point is reported by the check of its node."""
    readers = facts.readers.get(name, ())
    return bool(readers) and all(node.op_type in _QUANTIZED for node in readers)


def _operator(_: GraphFacts, node: onnx.NodeProto, limits: Limits) -> Pairs:
    if node.domain not in _DOMAINS:
        yield (
            f"it belongs to {node.domain}, not to standard ONNX",
            "export the model without that runtime's operators",
        )
    elif node.op_type not in limits.operators:
        yield (f"{limits.label} does not support this operator", "replace it with supported ones")
    elif node.op_type in limits.not_built:
        yield (
            f"{limits.label} parses it, but {limits.not_built[node.op_type]}",
            "adopt a file without its own NMS; edgevision adds one that builds",
        )


def _types(facts: GraphFacts, node: onnx.NodeProto, limits: Limits) -> Pairs:
    """Check the types of the operator's data."""
    known = limits.operators.get(node.op_type)
    if known is None or node.domain not in _DOMAINS or node.op_type in ("Cast", *_QUANTIZED):
        return
    for name in _data(facts, node):
        dtype = _as_read(facts.dtypes.get(name, ""), limits)
        if dtype == "uint8":
            yield (f"it reads {name} of type uint8, which can only be cast to a float", AGAIN)
        elif dtype and dtype not in known:
            listed = ", ".join(sorted(known))
            yield (
                f"{name} is {dtype}; {limits.label} supports {listed}",
                "cast it before this node",
            )


def _data(facts: GraphFacts, node: onnx.NodeProto) -> list[str]:
    """Values that hold data; axes, shapes and indices have their own types."""
    if node.op_type in ("Constant", "ConstantOfShape"):
        return [name for name in node.output if facts.dtypes.get(name) != "uint8"]  # reported by `_of_values`
    if not node.input or not onnx.defs.has(node.op_type, facts.opset, ""):
        return []
    schema = onnx.defs.get_schema(node.op_type, facts.opset, "")
    first = 1 if node.op_type == "Where" else 0
    declared = [schema.inputs[min(i, len(schema.inputs) - 1)].type_str for i in range(len(node.input))]
    return [name for name, kind in zip(node.input, declared, strict=True) if name and kind == declared[first]]


def _as_read(dtype: str, limits: Limits) -> str:
    return "int32" if dtype == "int64" and not limits.int64 else dtype


def _cast(facts: GraphFacts, node: onnx.NodeProto, limits: Limits) -> Pairs:
    if node.op_type != "Cast":
        return
    old, new = (_as_read(facts.dtypes.get(name, ""), limits) for name in (node.input[0], node.output[0]))
    for dtype in (old, new):
        if dtype and dtype not in limits.operators["Cast"]:
            yield (f"it casts from {old} to {new}; {limits.label} does not support casts of {dtype}", AGAIN)
    if "uint8" not in (old, new):
        return
    partner = new if old == "uint8" else old
    if partner not in limits.uint8_partners:
        floats = " or ".join(sorted(limits.uint8_partners))
        yield (f"it casts {old} to {new}; TensorRT converts uint8 only from and to {floats}", AGAIN)
    if old == "uint8" and node.input[0] not in facts.inputs:
        yield (f"it reads {node.input[0]} of type uint8, which is not an input of the graph", AGAIN)
    if new == "uint8" and facts.readers.get(node.output[0]):
        yield (f"its output {node.output[0]} is uint8, which must be an output of the graph", AGAIN)


def _quantization(facts: GraphFacts, node: onnx.NodeProto, limits: Limits) -> Pairs:
    if node.op_type not in _QUANTIZED:
        return
    scale = facts.dtypes.get(node.input[1], "")
    if scale not in limits.scale_types:
        wanted = " or ".join(sorted(limits.scale_types))
        yield (f"its scale {node.input[1]} is {scale}; {limits.label} supports {wanted}", REQUANTIZE)
    values = facts.constant(node.input[1])
    if values is not None and not bool((values.astype(np.float64) > 0).all()):
        yield (f"its scale {node.input[1]} is not positive", REQUANTIZE)
    whole = facts.dtypes.get(node.output[0] if node.op_type == "QuantizeLinear" else node.input[0], "")
    if whole not in limits.operators["DequantizeLinear"]:
        listed = ", ".join(sorted(limits.operators["DequantizeLinear"]))
        yield (
            f"it quantizes to {whole}, the type for CPU engines; {limits.label} supports {listed}",
            REQUANTIZE,
        )
    zero = facts.constant(node.input[2]) if len(node.input) > 2 else None
    if zero is not None and bool(zero.astype(np.float64).any()):
        yield (f"its zero-point {node.input[2]} is not 0", REQUANTIZE)
    if node.op_type == "QuantizeLinear":
        dtype = facts.dtypes.get(node.input[0], "")
        if dtype not in limits.operators["QuantizeLinear"]:
            yield (f"it reads {node.input[0]} of type {dtype}", REQUANTIZE)


def _top_k(facts: GraphFacts, node: onnx.NodeProto, limits: Limits) -> Pairs:
    if node.op_type != "TopK":
        return
    values = facts.constant(node.input[1]) if len(node.input) > 1 else None
    if values is not None and int(values.max()) > limits.top_k:
        yield (
            f"K is {int(values.max()):,}; {limits.label} supports at most {limits.top_k:,}",
            "choose a smaller number: --pre-nms-topk, --max-detections",
        )
    if any(attribute.name == "sorted" and not attribute.i for attribute in node.attribute):
        yield ("sorted is 0; TensorRT always sorts", "export it with sorted=1")


def _constants(facts: GraphFacts, node: onnx.NodeProto, limits: Limits) -> Pairs:
    index = limits.constant_inputs.get(node.op_type)
    if index is None or len(node.input) <= index or not node.input[index]:
        return
    if node.input[index] not in facts.stored:
        yield (
            f"{node.input[index]} is computed; {limits.label} requires a constant",
            "fold constants, for example with: edgevision adopt",
        )


def _details(facts: GraphFacts, node: onnx.NodeProto, _: Limits) -> Pairs:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Resize":
        for name, known in _RESIZE.items():
            given = attributes.get(name.decode())
            if given is not None and given.s not in known:
                yield (f"{name.decode()} is {given.s.decode()}", "use linear or nearest, half_pixel")
        if "antialias" in attributes and attributes["antialias"].i:
            yield ("antialias is set, which TensorRT does not support", "export it without")
    if node.op_type in ("MaxPool", "AveragePool"):
        rank = len(facts.shapes.get(node.input[0], ()))
        if rank and rank not in (4, 5):
            yield (
                f"it pools {rank - 2} dimensions; TensorRT supports 2 or 3",
                "add one of length 1 with Reshape",
            )
        if len(node.output) > 1 and node.output[1]:
            yield (
                "it has the output Indices, which TensorRT does not support",
                "export the model without it",
            )


_CHECKS: tuple[Callable[[GraphFacts, onnx.NodeProto, Limits], Pairs], ...] = (
    _operator,
    _types,
    _cast,
    _quantization,
    _top_k,
    _constants,
    _details,
)
