"""Rewrites float32 matrix products as sums of products, for GPUs where TensorRT-RTX does not support them.

Found with TensorRT-RTX 1.7: for SM 7.5 (Turing) its compiler rejects "FP32 GEMM". Neither the NMS of a detector nor the
last layer of a classifier would then build in float. Convolutions are supported and stay unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision.engines.tensorrt.library import Library

if TYPE_CHECKING:
    import tensorrt as trt


def write_out_products(library: Library, network: trt.INetworkDefinition) -> int:
    """Replace each product of two float32 matrices by a sum of element-wise products over their common dimension.

    Products with both sides transposed, of vectors, or that are themselves an output stay. Returns the number of
    replaced products.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    readers: dict[str, list[tuple[trt.ILayer, int]]] = {}
    for layer in layers:
        for index in range(layer.num_inputs):
            tensor = layer.get_input(index)
            if tensor is not None:
                readers.setdefault(tensor.name, []).append((layer, index))
    replaced = 0
    kind, single = library.member("LayerType", "MATRIX_MULTIPLY"), library.member("DataType", "FLOAT")
    for layer in layers:
        if layer.type != kind or layer.get_input(0).dtype != single:
            continue
        summed = _sum_of_products(library, network, layer)
        old = layer.get_output(0)
        if summed is None or old.is_network_output:
            continue
        for reader, index in readers.get(old.name, []):
            reader.set_input(index, summed)
        replaced += 1
    return replaced


def _sum_of_products(library: Library, network: trt.INetworkDefinition, layer: Any) -> trt.ITensor | None:
    """``[.., m, k] x [.., k, n]`` with a length of 1 inserted on each side where the other has its own; k is summed."""
    layer.__class__ = (
        library.module.IMatrixMultiplyLayer
    )  # the bindings show a layer's own attributes this way
    left, right = layer.get_input(0), layer.get_input(1)
    rank = len(left.shape)
    transposed = tuple(op == library.member("MatrixOperation", "TRANSPOSE") for op in (layer.op0, layer.op1))
    vector = library.member("MatrixOperation", "VECTOR")
    places = {(False, False): (rank, rank - 2, rank - 1), (False, True): (rank - 1, rank - 2, rank)}
    places[True, False] = (rank, rank - 1, rank - 2)
    if transposed not in places or vector in (layer.op0, layer.op1) or len(right.shape) != rank:
        return None
    left_axis, right_axis, summed_axis = places[transposed]
    multiply = library.member("ElementWiseOperation", "PROD")
    product = network.add_elementwise(
        _unsqueezed(library, network, left, left_axis),
        _unsqueezed(library, network, right, right_axis),
        multiply,
    )
    product.name = f"{layer.name} (products)"
    total = network.add_reduce(
        product.get_output(0), library.member("ReduceOperation", "SUM"), 1 << summed_axis, False
    )
    total.name = f"{layer.name} (sums)"
    return total.get_output(0)


def _unsqueezed(library: Library, network: Any, tensor: trt.ITensor, axis: int) -> trt.ITensor:
    axes = network.add_constant((1,), library.module.Weights(np.array([axis], np.int64))).get_output(0)
    widened: trt.ITensor = network.add_unsqueeze(tensor, axes).get_output(0)
    return widened
