"""Pins layers to float32 where a builder could choose another type, and keeps them off the DLA.

With weak typing, the FP16 flag lets the builder compute any layer in FP16. In pre-processing, decoding and NMS that is
wrong: a box of 300 x 300 pixels has an area of 90,000, and FP16 ends at 65,504. Its IoU is then infinity divided by
infinity, and NMS no longer removes overlapping large boxes.
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
"""Names of layers that the parser adds to those that it names after a node."""
_COPY = re.compile(r"_\d+$")
"""Suffix that the parser adds to a second layer of one node."""
_LEFT = frozenset(("constant", "quantize", "dequantize"))
"""Layers that compute nothing, or whose types are set elsewhere."""


def held_layers(network: trt.INetworkDefinition, names: Collection[str] = ()) -> frozenset[int]:
    """Indices of the contract's layers, and of those that nodes called `names` became.

    In a network with FP16 tensors, float32 outputs are intended by the graph and count too. Layers that the parser
    added belong to the layers that they exchange floats with.
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
    """Indices of the layers that nodes called `names` became."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return frozenset(
        index
        for index, layer in enumerate(layers)
        if layer.name in names or _COPY.sub("", layer.name) in names
    )


def hold_in(
    library: Library, network: trt.INetworkDefinition, held: Collection[int], dtype: Literal["FLOAT", "HALF"]
) -> int:
    """Set the precision of those layers and the types of their float outputs; returns the number of layers.

    The builder respects them only with the flags of `Dialect.constraint_flags`.
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
    """Names of the float32 inputs and outputs of a layer."""
    inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
    outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
    return {t.name for t in (*inputs, *outputs) if t is not None and dtype_name(t) == "float32"}
