"""Estimates the memory of a network's tensors during inference from the network alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgevision.builder.network import dtype_name, shape_of

if TYPE_CHECKING:
    import tensorrt as trt

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int32": 4, "int64": 8}


@dataclass(frozen=True, slots=True)
class Activations:
    """Memory of a network's tensors at its largest batch."""

    peak_mib: int
    """Peak of live tensors, layer by layer in the network's order. Fusion reduces it."""
    largest_layer_mib: int
    """Inputs and outputs of the layer with the largest sum."""


def activations(network: trt.INetworkDefinition, batch: int) -> Activations:
    """Compute each tensor's lifetime, from the layer that produces it to its last consumer; weights are not counted."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    constants = {t.name for layer in layers if layer.type.name == "CONSTANT" for t in _outputs(layer)}
    last_read = {t.name: index for index, layer in enumerate(layers) for t in _inputs(layer)}
    sizes: dict[str, int] = {}
    largest = peak = alive = 0
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        alive += sizes.setdefault(tensor.name, _bytes(tensor, batch))
    for index, layer in enumerate(layers):
        own = {t.name: t for t in (*_inputs(layer), *_outputs(layer)) if t.name not in constants}
        for name, tensor in own.items():
            if name not in sizes:
                sizes[name] = _bytes(tensor, batch)
                alive += sizes[name]
        largest = max(largest, sum(sizes[name] for name in own))
        peak = max(peak, alive)
        # A tensor without consumers is a network output and stays alive.
        alive -= sum(sizes[name] for name in own if last_read.get(name) == index)
    return Activations(peak >> 20, largest >> 20)


def _inputs(layer: trt.ILayer) -> Iterator[trt.ITensor]:
    found = (layer.get_input(index) for index in range(layer.num_inputs))
    return (tensor for tensor in found if tensor is not None)


def _outputs(layer: trt.ILayer) -> Iterator[trt.ITensor]:
    found = (layer.get_output(index) for index in range(layer.num_outputs))
    return (tensor for tensor in found if tensor is not None)


def _bytes(tensor: trt.ITensor, batch: int) -> int:
    try:
        shape = shape_of(tensor)
    except ValueError:  # a data-dependent shape is unknown at build time
        return 0
    size = _BYTES.get(dtype_name(tensor), 1)
    for length in shape:
        size *= batch if length < 0 else length
    return size
