"""Converts a float graph to FP16 with typed tensors and casts, so that every engine computes the same values.

The conversion is our own because of the contract. Ranges measured on real frames decide which nodes stay float32; they
are named, and the same for TensorRT's strong typing and for ONNX Runtime. Existing converters silently clip values that
do not fit, hold all calibration data in memory, or choose an opset that older engines do not support.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision.contract.embedded_spec import FLOAT32_KEY
from edgevision.errors import GraphError, first_line
from edgevision.graph.contract import check_graph, opset_of
from edgevision.graph.surgery import walk
from edgevision.quantize.calibration.magnitudes import Magnitudes
from edgevision.quantize.signedness import DEQUANTIZE, QUANTIZE

LARGEST = 65504.0
"""The largest finite FP16 number."""

SMALLEST_NORMAL = 2.0**-14
"""Below this FP16 numbers are subnormal: they lose precision, down to steps of 2**-24."""

MARGIN = 4.0
"""Safety factor between the magnitudes of the probed frames and overflow."""

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16

_CONTRACT = re.compile(r"^(pre/|post/)")
"""Normalisation, decoding and NMS: pixel coordinates up to 1920 have steps of 1 in FP16."""

_ACCUMULATING = frozenset(
    [
        "InstanceNormalization",
        "LayerNormalization",
        "GroupNormalization",
        "LpNormalization",
        "MeanVarianceNormalization",
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "CumSum",
    ]
)
"""Operators that square or sum internally, where no probe reaches: their output does not show an overflow."""

_FLOAT_ONLY = frozenset(
    [
        "ConstantOfShape",
        "Range",
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "NonMaxSuppression",
        "RoiAlign",
        "GridSample",
        "LSTM",
        "GRU",
        "RNN",
        "If",
        "Loop",
        "Scan",
    ]
)

_MOVING = frozenset(
    ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Gather", "Slice")
)
"""Operators that change no value and therefore take the type of their readers."""

_WEIGHTED = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))

_FLOAT_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that the operator's definition keeps float32: regions and scales."""


@dataclass(frozen=True, slots=True)
class KeptNode:
    """A node that stays float32, with the measured reason."""

    node: str
    operator: str
    reason: str


@dataclass(frozen=True, slots=True)
class HalfGraph:
    """An FP16 graph with the decisions behind it."""

    model: onnx.ModelProto
    half_nodes: int
    float_nodes: int
    """Nodes that compute with floats and stay float32: those of the contract, and `kept`."""
    kept: tuple[KeptNode, ...]
    subnormal_weights: tuple[tuple[str, int], ...]
    """(weight, number of non-zero values below `SMALLEST_NORMAL`) of the weights converted to FP16."""


def values_to_probe(model: onnx.ModelProto) -> set[str]:
    """The values that `half_graph` needs magnitudes of: inputs and outputs of nodes outside the contract."""
    nodes = [node for node in model.graph.node if not _CONTRACT.match(node.name)]
    return {name for node in nodes for name in (*node.input, *node.output)}


def half_graph(
    model: onnx.ModelProto,
    magnitudes: Magnitudes,
    *,
    margin: float = MARGIN,
    decode_in_float: bool = True,
) -> HalfGraph:
    """Convert every node to FP16 that the measured ranges allow; inputs, outputs, ``pre/`` and ``post/`` stay float32.

    A node stays float32, by name, if one of its values times `margin` exceeds `LARGEST`, or one of its weights does.
    With `decode_in_float`, all nodes after the last layer with weights stay float32 too: adopted graphs decode boxes
    there. A quantized graph keeps its Q/DQ, whose floats become FP16. FP16 scales need opset 19, to which the graph is
    converted; TensorRT 8.6 does not support them and needs `opset17.opset17_form`. Raises `GraphError` if the graph is
    already FP16 or cannot be converted.
    """
    copy = _prepared(model)
    conversion = _Conversion(copy, magnitudes, margin, decode_in_float)
    conversion.decide()
    conversion.rewrite()
    del copy.graph.value_info[:]
    note_nodes(copy, FLOAT32_KEY, conversion.single_names())
    check_graph(copy)
    return HalfGraph(
        copy,
        len(conversion.half),
        len(conversion.candidates) - len(conversion.half),
        tuple(conversion.kept.values()),
        tuple(conversion.subnormal),
    )


def note_nodes(model: onnx.ModelProto, key: str, names: Iterable[str]) -> None:
    """Write node names into the graph's metadata, replacing older ones under that key."""
    kept = [entry for entry in model.metadata_props if entry.key != key]
    copies = [onnx.StringStringEntryProto(key=entry.key, value=entry.value) for entry in kept]
    del model.metadata_props[:]
    model.metadata_props.extend(copies)
    model.metadata_props.add(key=key, value=json.dumps(sorted(names)))


class _Conversion:
    """Decides which nodes of one graph become FP16, and rewrites them in place."""

    def __init__(
        self, model: onnx.ModelProto, magnitudes: Magnitudes, margin: float, decode_in_float: bool
    ) -> None:
        self.graph = model.graph
        self.magnitudes = magnitudes
        self.margin = margin
        self.decode_in_float = decode_in_float
        self.kept: dict[str, KeptNode] = {}
        self.subnormal: list[tuple[str, int]] = []
        self.stored = {tensor.name: tensor for tensor in self.graph.initializer}
        self.types = _float_types(model)
        self.nodes = list(self.graph.node)
        self.producer = {name: index for index, node in enumerate(self.nodes) for name in node.output}
        self.readers: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in node.input:
                self.readers.setdefault(name, []).append(index)
        self.candidates = {
            i for i, node in enumerate(self.nodes) if any(o in self.types for o in node.output)
        }
        self.half: set[int] = set()

    def decide(self) -> None:
        """Choose the nodes that become FP16."""
        tail = self._after_last_weights() if self.decode_in_float else set()
        fixed = {value.name for value in self.graph.output} | _captured(self.graph)
        for index in sorted(self.candidates):
            node = self.nodes[index]
            if (
                index in tail
                or _CONTRACT.match(node.name)
                or node.op_type in _FLOAT_ONLY
                or any(name in fixed for name in node.output)
            ):
                continue
            reason = self._objection(node)
            if reason is None:
                self.half.add(index)
            else:
                name = node.name or node.output[0]
                self.kept[name] = KeptNode(name, node.op_type, reason)
        for index in sorted(self.candidates, reverse=True):
            self._follow_readers(index)

    def single_names(self) -> list[str]:
        """Names of the nodes outside the contract that stay float32."""
        nodes = [self.nodes[index] for index in sorted(self.candidates - self.half)]
        return [node.name for node in nodes if node.name and not _CONTRACT.match(node.name)]

    def rewrite(self) -> None:
        """Change the types, insert casts between float32 and FP16, and store weights as FP16."""
        written: list[onnx.NodeProto] = []
        casts: dict[tuple[str, int], str] = {}

        def cast(name: str, to: int) -> str:
            if (name, to) not in casts:
                casts[name, to] = f"{name}/{'half' if to == HALF else 'float'}"
                output = casts[name, to]
                written.append(helper.make_node("Cast", [name], [output], name=output, to=to))
            return casts[name, to]

        for index, node in enumerate(self.nodes):
            half = index in self.half or self._quantizes_half(node)
            for position, name in enumerate(node.input):
                keeps = position in _FLOAT_INPUTS.get(node.op_type, ())
                wanted = HALF if half and not keeps else FLOAT
                if name in self.stored:
                    if wanted == HALF and self.stored[name].data_type == FLOAT:
                        node.input[position] = self._half_weight(name)
                elif self.types.get(name, wanted) != wanted:
                    node.input[position] = cast(name, wanted)
            if index in self.half:
                self._retype(node)
            written.append(node)
        del self.graph.node[:]
        self.graph.node.extend(written)
        _drop_unread(self.graph)

    def _objection(self, node: onnx.NodeProto) -> str | None:
        """The reason why the node must not be FP16; None if it may be."""
        if node.op_type in _ACCUMULATING:
            return "it squares or sums internally, where no probe reaches"
        for name in (*node.output, *node.input):
            if name in self.stored and self.stored[name].data_type == FLOAT:
                largest = _largest(self.stored[name])
                if not largest <= LARGEST:
                    return f"its weight {name} reaches {largest:.4g}"
            elif name in self.types:
                reached = self.magnitudes.largest.get(name)
                if reached is None:
                    raise GraphError(f"{name} was not probed; expected the magnitudes of this graph")
                if not reached * self.margin <= LARGEST:
                    verb = "answers" if name in node.output else "reads"
                    return f"it {verb} {name}, which reaches {reached:.4g}"
        if node.op_type == DEQUANTIZE and self._scale_is_subnormal(node):
            return f"its scale {node.input[1]} is under the smallest normal FP16 number"
        return None

    def _follow_readers(self, index: int) -> None:
        """Give a node that only moves values the type of all its readers, to avoid casts."""
        node = self.nodes[index]
        readers = [reader for name in node.output for reader in self.readers.get(name, ())]
        if not readers:
            return
        if node.op_type in (*_MOVING, DEQUANTIZE) and index in self.half:
            if not any(reader in self.half or self._quantizes(reader) for reader in readers):
                self.half.discard(index)
        elif node.name.startswith("pre/") and all(reader in self.half for reader in readers):
            # Whole numbers of 0 to 255, which FP16 represents exactly.
            pixels = node.op_type == "Cast" and node.input[0] not in self.types
            if pixels or node.op_type in _MOVING:
                self.half.add(index)

    def _after_last_weights(self) -> set[int]:
        """Nodes that no layer with weights follows."""
        before: set[int] = set()
        for index in reversed(range(len(self.nodes))):
            node = self.nodes[index]
            weighted = (
                node.op_type in _WEIGHTED and not _CONTRACT.match(node.name) and self._has_weights(node)
            )
            followed = any(reader in before for name in node.output for reader in self.readers.get(name, ()))
            if weighted or followed:
                before.add(index)
        return self.candidates - before

    def _has_weights(self, node: onnx.NodeProto) -> bool:
        """True if an input is stored, or dequantized from a stored value."""
        sources = [self.nodes[self.producer[name]] for name in node.input if name in self.producer]
        dequantized = {source.input[0] for source in sources if source.op_type == DEQUANTIZE}
        return any(name in self.stored for name in (*node.input, *dequantized))

    def _quantizes(self, index: int) -> bool:
        return bool(self.nodes[index].op_type == QUANTIZE)

    def _quantizes_half(self, node: onnx.NodeProto) -> bool:
        """Quantization takes its input's type, if its scale can be represented."""
        if node.op_type != QUANTIZE or self._scale_is_subnormal(node):
            return False
        source = self.producer.get(node.input[0])
        return source is not None and source in self.half

    def _scale_is_subnormal(self, node: onnx.NodeProto) -> bool:
        scale = self.stored.get(node.input[1])
        return scale is None or bool(numpy_helper.to_array(scale).min() < SMALLEST_NORMAL)

    def _retype(self, node: onnx.NodeProto) -> None:
        for name in node.output:
            if name in self.types:
                self.types[name] = HALF
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = HALF

    def _half_weight(self, name: str) -> str:
        """The name of a stored weight's FP16 copy."""
        half = f"{name}/half"
        if half not in self.stored:
            weights = numpy_helper.to_array(self.stored[name])
            small = int(np.count_nonzero((weights != 0) & (np.abs(weights) < SMALLEST_NORMAL)))
            if small:
                self.subnormal.append((name, small))
            self.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float16), half))
            self.stored[half] = self.graph.initializer[-1]
        return half


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with all constants as initializers, weights quantized, and the opset that FP16 scales need."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    quantized = any(node.op_type in (QUANTIZE, DEQUANTIZE) for node in result.graph.node)
    if quantized and opset_of(result) < 19:
        try:
            result = onnx.version_converter.convert_version(result, 19)
        except Exception as error:  # the converter raises arbitrary C++ errors
            raise GraphError(f"the graph cannot be converted to opset 19: {first_line(error)}") from error
    graph = result.graph
    kept = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
        else:
            kept.append(node)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    if any(tensor.data_type == HALF for tensor in stored.values()):
        raise GraphError("the graph is already FP16, at least in part; expected a float32 graph")
    rest = []
    for node in kept:
        if node.op_type == QUANTIZE and node.input[0] in stored:
            graph.initializer.append(_quantized_weight(node, stored))
        else:
            rest.append(node)
    del graph.node[:]
    graph.node.extend(rest)
    _drop_unread(graph)
    return result


def _quantized_weight(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> onnx.TensorProto:
    """The result of QuantizeLinear on a stored weight."""
    weights, scale, zero = (numpy_helper.to_array(stored[name]) for name in node.input)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.size > 1:
        shape = [-1 if i == axis % weights.ndim else 1 for i in range(weights.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    limits = np.iinfo(zero.dtype)
    steps = np.rint(weights / scale) + zero.astype(np.int32)
    return numpy_helper.from_array(steps.clip(limits.min, limits.max).astype(zero.dtype), node.output[0])


def _float_types(model: onnx.ModelProto) -> dict[str, int]:
    """The computed values of type float32."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    values = (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)
    stored = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: FLOAT
        for value in values
        if value.type.tensor_type.elem_type == FLOAT and value.name not in stored
    }


def _captured(graph: onnx.GraphProto) -> set[str]:
    """The values that nested graphs read from the outer graph."""
    nested: Iterator[onnx.GraphProto] = (part for part in walk(graph) if part is not graph)
    return {name for part in nested for node in part.node for name in node.input}


def _largest(tensor: onnx.TensorProto) -> float:
    values = numpy_helper.to_array(tensor)
    return float(np.abs(values).max()) if values.size else 0.0


def _drop_unread(graph: onnx.GraphProto) -> None:
    read = {name for part in walk(graph) for node in part.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
