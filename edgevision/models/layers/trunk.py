"""Layers in the order of a file, each with the list of its input layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from edgevision.checkpoint.pickled import PickledObject
from edgevision.checkpoint.reading import named_entries
from edgevision.errors import CheckpointError
from edgevision.models.layers.blocks import Joint
from edgevision.models.layers.part import Builders, kind_of, rebuild

PROBE_PX = 512
"""Side of the input whose shapes give the strides."""

Sources = tuple[tuple[int, ...], ...]
"""The input layers of each layer; -1 is the image."""


def trunk_from_module(
    root: PickledObject, builders: Builders, expected: str
) -> tuple[list[nn.Module], Sources]:
    """The layers of ``root.model`` on the meta device, and their inputs.

    Raises `CheckpointError` that names `expected`, or the layer at fault.
    """
    trunk = dict(named_entries(root, "_modules")).get("model")
    if not isinstance(trunk, PickledObject) or kind_of(trunk) != "nn.Sequential":
        raise CheckpointError(f"holds a {root.class_name!a:.120}, expected {expected}")
    layers: list[nn.Module] = []
    sources: list[tuple[int, ...]] = []
    with torch.device("meta"):  # on the meta device: no memory and no time until the weights are assigned
        for index, (_, layer) in enumerate(named_entries(trunk, "_modules")):
            if not isinstance(layer, PickledObject):
                raise CheckpointError(f"layer {index} is missing")
            try:
                layers.append(rebuild(layer, builders))
                sources.append(_sources(layer, index))
            except CheckpointError as error:
                raise CheckpointError(f"layer {index}: {error}") from error
    return layers, tuple(sources)


def _sources(layer: PickledObject, index: int) -> tuple[int, ...]:
    """The input layers of a layer: its attribute ``f``, counted from the layer if negative."""
    given = layer.state.get("f")
    listed = given if isinstance(given, (list, tuple)) else [given]
    sources = tuple(item + index if item < 0 else item for item in listed if type(item) is int)
    if (
        len(sources) != len(listed)
        or not sources
        or not all(-(index == 0) <= source < index for source in sources)
    ):
        raise CheckpointError(f"its inputs are not earlier layers: f is {str(listed)[:60]}")
    return sources


def run_trunk(layers: Iterable[nn.Module], sources: Sequence[tuple[int, ...]], x: torch.Tensor) -> Any:
    """Run the layers in order, each on its listed inputs, and return what the last one returns.

    Only outputs that are needed later are kept.
    """
    needed = {source for index, taken in enumerate(sources) for source in taken if source != index - 1}
    kept: dict[int, Any] = {-1: x}
    out: Any = x
    for index, (layer, taken) in enumerate(zip(layers, sources, strict=True)):
        maps = [out if source == index - 1 else kept[source] for source in taken]
        out = layer(maps) if isinstance(layer, Joint) else layer(*maps)
        if index in needed:
            kept[index] = out
    return out


def probe(layers: Iterable[nn.Module], sources: Sequence[tuple[int, ...]]) -> Any:
    """The outputs for an image of `PROBE_PX` on the meta device; raises `CheckpointError` if layers do not fit."""
    try:
        return run_trunk(layers, sources, torch.empty(1, 3, PROBE_PX, PROBE_PX, device="meta"))
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(f"its layers do not fit together: {str(error)[:200]}") from error


def strides_of(maps: Sequence[torch.Tensor]) -> tuple[int, ...]:
    """Input pixels for each cell of each scale, from the maps of `probe`; raises `CheckpointError`."""
    heights = [map_.shape[2] for map_ in maps]
    if any(
        height == 0 or PROBE_PX % height or map_.shape[3] != height
        for height, map_ in zip(heights, maps, strict=True)
    ):
        raise CheckpointError(
            f"its maps have heights of {heights} for {PROBE_PX} px, expected whole fractions"
        )
    return tuple(PROBE_PX // height for height in heights)
