"""Selects the layers that run on a DLA: those between pre- and post-processing, in few large pieces."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgevision.engines.tensorrt.library import Library
from edgevision.errors import EngineError

if TYPE_CHECKING:
    import tensorrt as trt

LOADABLES = 16
"""DLA pieces that one core holds; convolutions of further pieces fall back to the GPU.

Source: https://github.com/marcoslucianops/DeepStream-Yolo/issues/27.
"""
_WEIGHTED = frozenset(("convolution", "deconvolution", "fully_connected", "matrix_multiply"))


@dataclass(frozen=True, slots=True)
class DlaPlacement:
    """Placement of a network's layers for a DLA build."""

    taken: int
    layers: int
    """Without constants."""
    pieces: int
    """Consecutive runs of layers on the DLA."""
    given_up: int = 0
    """Pieces that run on the GPU because a core holds only `LOADABLES`."""

    def __str__(self) -> str:
        more = f"; {self.given_up} small pieces left to the GPU" if self.given_up else ""
        pieces = f"{self.pieces} piece{'' if self.pieces == 1 else 's'}"
        return f"DLA: {self.taken} of {self.layers} layers in {pieces}, the rest on the GPU{more}"


def place_on_dla(
    library: Library, config: trt.IBuilderConfig, network: trt.INetworkDefinition, held: Collection[int]
) -> DlaPlacement:
    """Keep `held` layers on the GPU, and all but the largest `LOADABLES` pieces of the layers that the DLA supports.

    Constants have no device and do not split a piece. Raises `EngineError` if the DLA supports no layer.
    """
    gpu = library.member("DeviceType", "GPU")
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    for index in held:
        config.set_device_type(layers[index], gpu)
    order = [index for index, layer in enumerate(layers) if layer.type.name.lower() != "constant"]
    takes = {index: index not in held and bool(config.can_run_on_DLA(layers[index])) for index in order}
    pieces = [list(piece) for taken, piece in itertools.groupby(order, takes.__getitem__) if taken]
    if not pieces:
        raise EngineError(
            f"the DLA supports none of the {network.num_layers} layers: it computes only in FP16 and INT8; build"
            " without --device, or with --precision fp16 or int8"
        )

    def size(piece: list[int]) -> tuple[int, int]:
        weighted = sum(layers[index].type.name.lower() in _WEIGHTED for index in piece)
        return weighted, len(piece)

    pieces.sort(key=size, reverse=True)
    for index in itertools.chain.from_iterable(pieces[LOADABLES:]):
        config.set_device_type(layers[index], gpu)
    kept = pieces[:LOADABLES]
    return DlaPlacement(sum(map(len, kept)), len(order), len(kept), len(pieces) - len(kept))
