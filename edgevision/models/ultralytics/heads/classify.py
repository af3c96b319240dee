"""Head of the classifiers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edgevision.models.layers.blocks import Joint
from edgevision.models.layers.part import Part
from edgevision.models.ultralytics.heads.head import HeadKind


class ClassifyHead(Joint):
    """A convolution, the mean over all pixels, and a linear layer: logits ``[B,C]``."""

    def __init__(self, conv: nn.Module, pool: nn.Module, linear: nn.Linear) -> None:
        super().__init__()
        self.conv = conv
        self.pool = pool
        self.linear = linear

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Maps of one size, joined, to logits."""
        x = maps[0] if len(maps) == 1 else torch.cat(list(maps), 1)
        out: torch.Tensor = self.linear(self.pool(self.conv(x)).flatten(1))
        return out


def _classify(part: Part) -> ClassifyHead:
    return ClassifyHead(part.take("conv"), part.take("pool"), part.take_as("linear", nn.Linear))


CLASSIFY = HeadKind("classify", _classify, unused=("drop",))
