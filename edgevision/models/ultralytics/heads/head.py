"""The head of anchor-free detectors: for each scale, one tower of layers for each kind of value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from edgevision.contract.spec import Task
from edgevision.errors import CheckpointError
from edgevision.models.layers.blocks import Joint
from edgevision.models.layers.part import Builder, Part


class TowerHead(Joint):
    """Maps to maps of raw values, without decoding: all scales of the first tower, then all of the second, ...

    The first tower ``cv2`` gives ``[B,4*bins,h,w]``: the distances of a cell's centre to the left, top, right and
    bottom of its box, each as logits of a distribution over `bins` (arXiv 2006.04388) or, with one bin, directly. The
    second ``cv3`` gives class logits ``[B,C,h,w]``. A third tower ``cv4`` gives `further` values of each box.
    """

    further = 0

    def __init__(self, towers: dict[str, nn.ModuleList], bins: int) -> None:
        super().__init__()
        self.towers = tuple(towers)
        for name, tower in towers.items():
            self.add_module(name, tower)
        self.bins = bins

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """One map for each scale, finest first, to the raw maps of every tower."""
        found: list[torch.Tensor] = []
        for name in self.towers:
            tower = self.get_submodule(name)
            assert isinstance(tower, nn.ModuleList)
            found.extend(layer(x) for layer, x in zip(tower, maps, strict=True))
        return found


@dataclass(frozen=True, slots=True)
class HeadKind:
    """A head of the package: how it is rebuilt, and what of it serves training only."""

    task: Task
    build: Builder
    unused: tuple[str, ...] = ()
    """Parts that only training uses, as dotted paths below the head."""


def towers_of(part: Part, *names: str) -> dict[str, nn.ModuleList]:
    """The towers of a head by name; raises `CheckpointError` unless all have as many scales."""
    towers = {name: part.take_as(name, nn.ModuleList) for name in names}
    counts = {len(tower) for tower in towers.values()}
    if len(counts) != 1 or 0 in counts:
        raise CheckpointError(f"{part.kind}: its towers {', '.join(names)} have different numbers of scales")
    return towers


def bins_of(part: Part) -> int:
    """The number of bins of each distance."""
    bins = part.integer("reg_max")
    if not 1 <= bins <= 64:
        raise CheckpointError(f"{part.kind}.reg_max is {bins}, expected 1 to 64")
    return bins
