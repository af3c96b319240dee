"""Layers that must compute in float32 wherever a builder could choose otherwise, and are kept off the DLA.

Where typing is weak the builder's FP16 flag is leave to compute anything in FP16. In pre-processing, decoding and
suppression that is wrong: a box of 300 x 300 pixels has an area of 90,000, FP16 ends at 65,504, its overlap with
another is then infinite by infinite, and large boxes are no longer suppressed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from edgevision.builder.network import CONTRACT, dtype_name
from edgevision.engines.tensorrt.library import Library

if TYPE_CHECKING:
    import tensorrt as trt

_HELPER = re.compile(r"^$|^ONNXTRT_|^\(Unnamed Layer")
"""Layers that the parser adds to those which it names after a node."""
_COPY = re.compile(r"_\d+$")
"""What the parser puts behind the name of a second layer for one node."""
_LEFT = frozenset(("constant", "quantize", "dequantize"))
"""They compute nothing, or have their types from elsewhere."""


def held_layers(network: trt.INetworkDefinition, names: Collection[str] = ()) -> frozenset[int]:
    """Numbers of the layers of the contract, and of those that nodes called `names` became.

    In a network with FP16 tensors the graph's own types say it too: what answers in float32 there is meant to. Layers
    that the parser added belong to the ones that they exchange floats with.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    typed = any(_answers(layer, "float16") for layer in layers)
    held = set(named_layers(network, names))
    held |= {
        index
        for index, layer in enumerate(layers)
        if CONTRACT.match(layer.name) or (typed and _answers(layer, "float32"))
    }
    helpers = [i for i, layer in enumerate(layers) if i not in held and _HELPER.match(layer.name)]
    floats = {i: _float_tensors(layers[i]) for i in (*held, *helpers)}
    reached = set().union(*[floats[i] for i in held])
    while found := [i for i in helpers if i not in held and floats[i] & reached]:
        held.update(found)
        reached.update(*[floats[i] for i in found])
    return frozenset(held)


def named_layers(network: trt.INetworkDefinition, names: Collection[str]) -> frozenset[int]:
    """Numbers of the layers that nodes called `names` became."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return frozenset(
        index
        for index, layer in enumerate(layers)
        if layer.name in names or _COPY.sub("", layer.name) in names
    )


def hold_in(
    library: Library, network: trt.INetworkDefinition, held: Collection[int], dtype: Literal["FLOAT", "HALF"]
) -> int:
    """Set precision of those layers, and the types of their float outputs; returns of how many.

    The builder keeps to them with the flags of `Dialect.constraint_flags` alone.
    """
    wanted = library.member("DataType", dtype)
    count = 0
    for index in sorted(held):
        layer = network.get_layer(index)
        if layer.type.name.lower() in _LEFT or not _float_tensors(layer):
            continue
        layer.precision = wanted
        for output in range(layer.num_outputs):
            if dtype_name(layer.get_output(output)) == "float32":
                layer.set_output_type(output, wanted)
        count += 1
    return count


def _answers(layer: trt.ILayer, dtype: str) -> bool:
    return layer.type.name.lower() not in _LEFT and any(
        dtype_name(layer.get_output(index)) == dtype for index in range(layer.num_outputs)
    )


def _float_tensors(layer: trt.ILayer) -> set[str]:
    """Names of the float32 tensors that a layer reads and answers."""
    inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
    outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
    return {t.name for t in (*inputs, *outputs) if t is not None and dtype_name(t) == "float32"}
