"""Parses a graph into a TensorRT network, describes its layers and tensors, and explains parser errors."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision.contract.spec import ModelSpec, Precision
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.manifest import LayerCount, PlanTensor
from edgevision.engines.tensorrt.versions import FP8_SM, Dialect
from edgevision.errors import EngineError, GraphError

if TYPE_CHECKING:
    import tensorrt as trt

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "FP8": "float8",
    "INT4": "int4",
    "FP4": "float4",
}
_ADVICE = (
    ("zero point", "this graph is quantized for CPUs: edgevision quantize BUNDLE --target tensorrt"),
    ("NonMaxSuppression", "adopt a file without its own NMS; edgevision adds one that builds"),
    ("UINT8", "a uint8 tensor may only be cast: let `edgevision adopt` create the input"),
    ("plugin", "the operator needs a plugin; export the model without it"),
)
CONTRACT = re.compile(r"^(pre|post)/")
"""Name prefix of layers of pre-processing, decoding and NMS."""
COMPUTED_IN: dict[Precision, str] = {"fp16": "float16", "int8": "int8", "fp8": "float8"}
"""The type that layers of a graph of this precision compute in; a float graph sets none."""


def parse_graph(parser: trt.OnnxParser, graph: Path, library: Library) -> None:
    """Parse the ONNX file; raises `GraphError` with the node, its operator and the reason."""
    if parser.parse_from_file(str(graph)):
        return
    reasons = [translate(parser.get_error(index), library.dialect) for index in range(parser.num_errors)]
    distinct = list(dict.fromkeys(reasons)) or ["it gave no reason"]
    more = f" (and {len(distinct) - 3} more)" if len(distinct) > 3 else ""
    raise GraphError(f"{library.name} cannot parse {graph}: {'; '.join(distinct[:3])}{more}")


def translate(error: trt.ParserError, dialect: Dialect) -> str:
    """One parser error as text: node, operator, reason and a possible fix."""
    where = f"node {error.node()}" if error.node() >= 0 else "the file"
    if dialect.parser_names_nodes and error.node_name():
        where = f"node {error.node_name()!r} ({error.node_operator()})"
    text = plain(error.desc())
    # "In node 12 with name: x and operator: Y (function): REASON": the location is already known.
    reason = re.sub(r"^In node -?\d+ .*?\): ", "", text) or f"error {error.code()}"
    advice = next((f"; {help_}" for word, help_ in _ADVICE if word.lower() in text.lower()), "")
    return f"{where}: {reason}{advice}"


def plain(text: str) -> str:
    """A library message on one line, without source locations and CUDA errors."""
    line = " ".join(text.split())
    line = re.sub(r"\[\w+\.cpp\S*\] Error Code \d+: Cuda Runtime.*?\(cudaError.*?\)\)", "", line)
    line = re.sub(r"\.? In \w+ at /\S+?:\d+", "", line)
    return re.sub(r"\bI\w+::\w+: |Error Code \d+: |\[\w+\.cpp:\d+: \w+\] ", "", line).strip()


def tensors(network: trt.INetworkDefinition) -> tuple[PlanTensor, ...]:
    """Inputs, then outputs."""
    found = [_tensor(network.get_input(index), "input") for index in range(network.num_inputs)]
    found += [_tensor(network.get_output(index), "output") for index in range(network.num_outputs)]
    return tuple(found)


def check_contract(network: trt.INetworkDefinition, spec: ModelSpec, graph: Path) -> None:
    """Raise `GraphError` unless inputs and outputs of the network match the bundle's spec."""
    wanted: list[tuple[str, str]] = [(tensor.name, tensor.dtype) for tensor in (*spec.inputs, *spec.outputs)]
    found = [(tensor.name, tensor.dtype) for tensor in tensors(network)]
    if sorted(found) != sorted(wanted):
        raise GraphError(
            f"{graph} has inputs and outputs {_pairs(found)}; its spec expects {_pairs(wanted)}: export it again"
        )


def layer_counts(network: trt.INetworkDefinition) -> tuple[LayerCount, ...]:
    """Layers by kind and output type, most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        output = layer.get_output(0) if layer.num_outputs else None
        counts[layer.type.name.lower(), dtype_name(output) if output else "none"] += 1
    return tuple(LayerCount(kind, precision, n) for (kind, precision), n in counts.most_common())


def check_precision(network: trt.INetworkDefinition, precision: Precision, graph: Path) -> None:
    """Raise `GraphError` if the graph is named fp16 or int8 and no layer has that type; the engine would be slow."""
    wanted = COMPUTED_IN.get(precision)
    if wanted is None or any(count.precision == wanted for count in layer_counts(network)):
        return
    raise GraphError(
        f"{graph} is stored as {precision}, but none of its {network.num_layers} layers computes in it; quantize it"
        " again: edgevision quantize BUNDLE"
    )


def dtype_name(tensor: trt.ITensor) -> str:
    """The tensor's type as numpy names it; TensorRT's own name for types that numpy lacks."""
    name = tensor.dtype.name
    return _DTYPES.get(name, name.lower())


def shape_of(tensor: trt.ITensor) -> tuple[int, ...]:
    """The tensor's dimensions, -1 for a dynamic one; raises `ValueError` for a data-dependent shape."""
    lengths: Any = tensor.shape  # a sequence; the stub does not declare it
    return tuple(int(length) for length in lengths)


def refuse_precision(dialect: Dialect, precision: Precision, sm: int) -> None:
    """Raise `EngineError` if this version or compute capability does not support the precision."""
    if all(entry.precision != precision for entry in dialect.precisions):
        known = ", ".join(entry.precision for entry in dialect.precisions)
        raise EngineError(f"{dialect.label} does not support {precision} engines; it supports {known}")
    if precision == "fp8" and sm < FP8_SM:
        raise EngineError(
            f"fp8 needs SM 8.9 or newer; the engine is for SM {sm / 10:g}: use --precision int8"
        )


def _tensor(tensor: trt.ITensor, mode: str) -> PlanTensor:
    shape = shape_of(tensor)
    return PlanTensor(tensor.name, "input" if mode == "input" else "output", dtype_name(tensor), shape)


def _pairs(found: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in found)
