"""Converts a float graph to FP16 with typed tensors and casts, so that every engine computes the same values.

The conversion is our own because of the contract. Ranges measured on real frames decide which nodes stay float32; they
are named, and the same for TensorRT's strong typing and for ONNX Runtime. Existing converters silently clip values that
do not fit, hold all calibration data in memory, or choose an opset that older engines do not support.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgevision.contract.embedded_spec import FLOAT32_KEY
from edgevision.errors import GraphError
from edgevision.graph.contract import check_graph
from edgevision.quantize.calibration.magnitudes import Magnitudes
from edgevision.quantize.half.caution import LARGEST, cautions
from edgevision.quantize.half.flow import Flow
from edgevision.quantize.half.operators import ACCUMULATING, FLOAT_INPUTS, FLOAT_ONLY, MOVING, NORMALIZATIONS
from edgevision.quantize.half.preparation import (
    FLOAT,
    HALF,
    captured,
    drop_unread,
    float_types,
    largest_of,
    prepared,
)
from edgevision.quantize.signedness import DEQUANTIZE, QUANTIZE

SMALLEST_NORMAL = 2.0**-14
"""Below this FP16 numbers are subnormal: they lose precision, down to steps of 2**-24."""

MARGIN = 4.0
"""Safety factor between the magnitudes of the probed frames and overflow."""

_CONTRACT = re.compile(r"^(pre/|post/)")
"""Normalisation, decoding and NMS: pixel coordinates up to 1920 have steps of 1 in FP16."""


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
    half: tuple[str, ...]
    """Names of the nodes that compute in FP16."""
    float_nodes: int
    """Nodes that compute with floats and stay float32: those of the contract, and `kept`."""
    kept: tuple[KeptNode, ...]
    subnormal_weights: tuple[tuple[str, int], ...]
    """(weight, number of non-zero values below `SMALLEST_NORMAL`) of the weights converted to FP16."""

    @property
    def half_nodes(self) -> int:
        """Number of nodes that compute in FP16."""
        return len(self.half)


@dataclass(frozen=True, slots=True)
class HalfRules:
    """Which nodes stay float32."""

    margin: float = MARGIN
    """Factor on measured magnitudes that must still fit."""
    decode_in_float: bool = True
    """Keep all nodes after the last layer with weights: adopted graphs decode boxes there."""
    cautious: bool = True
    """Keep nodes float32 whose risk measured magnitudes do not show: sums in normalizations, and `caution.cautions`.
    False for a search that measures accuracy."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Further nodes, with the reason."""


CAUTIOUS = HalfRules()


def values_to_probe(model: onnx.ModelProto) -> set[str]:
    """The values that `half_graph` needs magnitudes of: inputs and outputs of nodes outside the contract."""
    nodes = [node for node in model.graph.node if not _CONTRACT.match(node.name)]
    return {name for node in nodes for name in (*node.input, *node.output)}


def half_graph(model: onnx.ModelProto, magnitudes: Magnitudes, rules: HalfRules = CAUTIOUS) -> HalfGraph:
    """Convert every node to FP16 that the measured ranges allow; inputs, outputs, ``pre/`` and ``post/`` stay float32.

    A node stays float32, by name, if one of its values times `margin` exceeds `LARGEST`, if one of its weights does, or
    by one of the `rules`. A quantized graph keeps its Q/DQ, whose floats become FP16. FP16 scales need opset 19, to
    which the graph is converted; TensorRT 8.6 does not support them and needs `opset17.opset17_form`. Raises
    `GraphError` if the graph is already FP16 or cannot be converted.
    """
    copy = prepared(model)
    conversion = _Conversion(copy, magnitudes, rules)
    conversion.decide()
    half = tuple(copy.graph.node[index].name for index in sorted(conversion.half))
    conversion.rewrite()
    del copy.graph.value_info[:]
    note_nodes(copy, FLOAT32_KEY, conversion.single_names())
    check_graph(copy)
    return HalfGraph(
        copy,
        half,
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

    def __init__(self, model: onnx.ModelProto, magnitudes: Magnitudes, rules: HalfRules) -> None:
        self.graph = model.graph
        self.magnitudes = magnitudes
        self.rules = rules
        self.kept: dict[str, KeptNode] = {}
        self.subnormal: list[tuple[str, int]] = []
        self.types = float_types(model)
        self.flow = Flow(model)
        self.nodes = self.flow.nodes
        self.stored = self.flow.stored
        self.candidates = {
            i for i, node in enumerate(self.nodes) if any(o in self.types for o in node.output)
        }
        self.half: set[int] = set()

    def decide(self) -> None:
        """Choose the nodes that become FP16."""
        tail = self._after_last_weights() if self.rules.decode_in_float else set()
        fixed = {value.name for value in self.graph.output} | captured(self.graph)
        careful = cautions(self.flow, self.magnitudes.largest) if self.rules.cautious else {}
        for index in sorted(self.candidates):
            node = self.nodes[index]
            if (
                index in tail
                or _CONTRACT.match(node.name)
                or node.op_type in FLOAT_ONLY
                or any(name in fixed for name in node.output)
            ):
                continue
            reason = self.rules.kept.get(node.name) or self._objection(node) or careful.get(index)
            if reason is None:
                self.half.add(index)
            else:
                name = node.name or node.output[0]
                self.kept[name] = KeptNode(name, node.op_type, reason)
        for index in sorted(self.candidates, reverse=True):
            self._follow_readers(index)
        for index in sorted(self.half):
            self._follow_float(index)

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
                keeps = position in FLOAT_INPUTS.get(node.op_type, ())
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
        drop_unread(self.graph)

    def _objection(self, node: onnx.NodeProto) -> str | None:
        """The reason why the node must not be FP16; None if it may be."""
        measured = node.op_type in NORMALIZATIONS and not self.rules.cautious
        if node.op_type in ACCUMULATING and not measured:
            return "it squares or sums internally, where no probe reaches"
        for name in (*node.output, *node.input):
            if name in self.stored and self.stored[name].data_type == FLOAT:
                largest = largest_of(self.stored[name])
                if not largest <= LARGEST:
                    return f"its weight {name} reaches {largest:.4g}"
            elif name in self.types:
                reached = self.magnitudes.largest.get(name)
                if reached is None:
                    raise GraphError(f"{name} was not probed; expected the magnitudes of this graph")
                if not reached * self.rules.margin <= LARGEST:
                    verb = "answers" if name in node.output else "reads"
                    return f"it {verb} {name}, which reaches {reached:.4g}"
        if node.op_type == DEQUANTIZE and self._scale_is_subnormal(node):
            return f"its scale {node.input[1]} is under the smallest normal FP16 number"
        return None

    def _follow_readers(self, index: int) -> None:
        """Give a node that only moves values the type of all its readers, to avoid casts."""
        node = self.nodes[index]
        readers = self.flow.after(index)
        if not readers:
            return
        if node.op_type in (*MOVING, DEQUANTIZE) and index in self.half:
            if not any(reader in self.half or self._quantizes(reader) for reader in readers):
                self.half.discard(index)
        elif node.name.startswith("pre/") and all(reader in self.half for reader in readers):
            # Whole numbers of 0 to 255, which FP16 represents exactly.
            pixels = node.op_type == "Cast" and node.input[0] not in self.types
            if pixels or node.op_type in MOVING:
                self.half.add(index)

    def _follow_float(self, index: int) -> None:
        """Move a float32 value as float32 if a reader needs it: a cast to FP16 in between would round it."""
        single = self.candidates - self.half
        before, after = self.flow.before(index), self.flow.after(index)
        if self.flow.moves(index) and single.intersection(before) and single.intersection(after):
            self.half.discard(index)

    def _after_last_weights(self) -> set[int]:
        """Nodes that no layer with weights follows."""
        before: set[int] = set()
        for index in reversed(range(len(self.nodes))):
            node = self.nodes[index]
            weighted = self.flow.weighted(index) and not _CONTRACT.match(node.name)
            followed = any(reader in before for reader in self.flow.after(index))
            if weighted or followed:
                before.add(index)
        return self.candidates - before

    def _quantizes(self, index: int) -> bool:
        return bool(self.nodes[index].op_type == QUANTIZE)

    def _quantizes_half(self, node: onnx.NodeProto) -> bool:
        """Quantization takes its input's type, if its scale can be represented."""
        if node.op_type != QUANTIZE or self._scale_is_subnormal(node):
            return False
        source = self.flow.producer.get(node.input[0])
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
