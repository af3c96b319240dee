"""Computes the share of a network's work in lower precision, in the graph and in the built engine.

Work is the number of multiply-accumulates of layers with weights: one INT8 layer among a hundred does not make an INT8
engine.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from edgevision.builder.inspect import type_in
from edgevision.builder.network import COMPUTED_IN, CONTRACT, dtype_name, shape_of
from edgevision.contract.spec import Precision
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.manifest import LayerWork, WorkShare

if TYPE_CHECKING:
    import tensorrt as trt

LEAST_SHARE = 0.5
"""Minimum share of the graph's work in a precision that the engine must also do in it; else it is rejected."""
_LOWEST = ("float8", "int8", "float16", "bfloat16", "float32", "unknown")
"""A layer computes in the lowest type of its inputs: an INT8 layer may have FP16 outputs."""


def network_work(library: Library, network: trt.INetworkDefinition) -> tuple[LayerWork, ...]:
    """Convolutions and matrix products outside of pre- and post-processing."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    kinds = {
        library.member("LayerType", "CONVOLUTION"): _convolution,
        library.member("LayerType", "DECONVOLUTION"): _deconvolution,
        library.member("LayerType", "MATRIX_MULTIPLY"): _product,
    }
    kind = library.member("LayerType", "DEQUANTIZE")
    dequantized = {
        layer.get_output(0).name: dtype_name(layer.get_input(0)) for layer in layers if layer.type == kind
    }
    found = []
    for layer in layers:
        count = kinds.get(layer.type)
        if count is None or CONTRACT.match(layer.name):
            continue
        macs = count(library, layer)
        if macs:
            precision = dequantized.get(layer.get_input(0).name) or dtype_name(layer.get_output(0))
            found.append(LayerWork(layer.name, macs, precision))
    return tuple(found)


def engine_shares(inspected: str, work: Iterable[LayerWork]) -> tuple[WorkShare, ...]:
    """The network's work by the type that the engine computes it in, largest first; from the inspector's JSON.

    Layers whose types the inspector does not list, such as those of DLA pieces, are "unknown". Raises `ValueError` for
    other text.
    """
    data = json.loads(inspected)
    layers = data.get("Layers") if isinstance(data, dict) else None
    if not isinstance(layers, list):
        raise ValueError("the inspector's JSON lists no layers")
    types: dict[str, str] = {}
    for layer in layers:
        for name in _made_of(layer):
            # A conversion may be listed with the layer that it serves, which computes in the lower type.
            types[name] = min(types.get(name, "unknown"), _computes_in(layer), key=_LOWEST.index)
    done: dict[str, int] = {}
    for item in work:
        precision = types.get(item.layer, "unknown")
        done[precision] = done.get(precision, 0) + item.macs
    total = sum(done.values())
    shares = [WorkShare(precision, round(macs / total, 4)) for precision, macs in done.items()]
    return tuple(sorted(shares, key=lambda share: -share.share))


def promised_share(work: Iterable[LayerWork], precision: Precision) -> float:
    """Share of the work that the graph itself has in this precision, 0 to 1."""
    items = tuple(work)
    total = sum(item.macs for item in items)
    return (
        sum(item.macs for item in items if item.precision == COMPUTED_IN.get(precision)) / total
        if total
        else 0.0
    )


def short_of(shares: Iterable[WorkShare], work: Iterable[LayerWork], precision: Precision) -> str | None:
    """The problem of an engine that does far less work in its precision than its graph; None if there is none.

    Work of unknown type counts as work in that precision.
    """
    wanted = COMPUTED_IN.get(precision)
    promised = promised_share(work, precision)
    if wanted is None or not promised:
        return None
    by_type: Mapping[str, float] = {share.precision: share.share for share in shares}
    done = by_type.get(wanted, 0.0) + by_type.get("unknown", 0.0)
    if done >= LEAST_SHARE * promised:
        return None
    return f"{done:.0%} of its work is done in {precision}; {promised:.0%} of the graph's work is {precision}"


def shares_text(shares: Iterable[WorkShare]) -> str:
    """As "91.8 % of the work in int8, 8.2 % in float16"."""
    return ", ".join(
        f"{100 * share.share:.1f} %{' of the work' if number == 0 else ''} in {share.precision}"
        for number, share in enumerate(shares)
    )


def _lengths(tensor: trt.ITensor) -> list[int]:
    """Of one frame: a dynamic batch counts once."""
    return [max(length, 1) for length in shape_of(tensor)]


def _convolution(library: Library, layer: Any) -> int:
    layer.__class__ = library.module.IConvolutionLayer  # the bindings show a layer's own attributes this way
    channels = _lengths(layer.get_input(0))[1] // layer.num_groups
    return int(math.prod(_lengths(layer.get_output(0))) * channels * math.prod(layer.kernel_size_nd))


def _deconvolution(library: Library, layer: Any) -> int:
    layer.__class__ = library.module.IDeconvolutionLayer
    maps = layer.num_output_maps // layer.num_groups
    return int(math.prod(_lengths(layer.get_input(0))) * maps * math.prod(layer.kernel_size_nd))


def _product(library: Library, layer: Any) -> int:
    layer.__class__ = library.module.IMatrixMultiplyLayer
    lengths = _lengths(layer.get_input(0))
    transposed = layer.op0 == library.member("MatrixOperation", "TRANSPOSE")
    summed = lengths[-2] if transposed and len(lengths) > 1 else lengths[-1]
    return math.prod(_lengths(layer.get_output(0))) * summed


def _made_of(layer: Any) -> list[str]:
    """Names of the network's layers in a layer of the engine: "[ONNX Layer: a]\\x1e[ONNX Layer: b]", or "a + b"."""
    if not isinstance(layer, dict):
        return []
    noted = re.findall(r"\[ONNX Layer: ([^\]]+)\]", str(layer.get("Metadata", "")))
    return noted or [part.strip() for part in str(layer.get("Name", "")).split(" + ")]


def _computes_in(layer: Mapping[str, Any]) -> str:
    if str(layer.get("Name", "")).startswith("{ForeignNode"):
        return "unknown"  # many layers, whose own types are not listed
    inputs = layer.get("Inputs")
    texts = [
        " ".join(str(value) for key, value in tensor.items() if key != "Name")
        for tensor in (inputs if isinstance(inputs, list) else [])
        if isinstance(tensor, dict)
    ]
    weights = layer.get("Weights")
    if isinstance(weights, dict):
        texts.append(str(weights.get("Type", "")))
    found = {type_in(text) for text in texts}
    return next((name for name in _LOWEST if name in found), "unknown")
