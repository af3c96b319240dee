"""EfficientNet-B0 to B4 (arXiv 1905.11946) with torchvision's parameter names: ``features.1.0.block.0.0.weight``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from edgevision.models.classifiers.family import Expected, Family, Library, Marks
from edgevision.models.classifiers.inverted import (
    BlockActivations,
    BlockShape,
    InvertedResidual,
    numbered,
    timm_block,
)
from edgevision.models.classifiers.parts import conv_norm, multiple_of_8, pooled

_STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
"""Table 1 of the paper: factor of the expansion, kernel, channels, blocks, stride of the first block."""
_STEM, _FEATURES = 32, 1280
_ACTIVATIONS = BlockActivations(nn.SiLU, nn.SiLU, nn.Sigmoid)


@dataclass(frozen=True)
class EfficientNetShape:
    """EfficientNet with all channels multiplied by `width` and the blocks of each stage by `depth`.

    `name` selects the input size: "B0" and so on.
    """

    name: str
    width: float
    depth: float

    @property
    def stem(self) -> int:
        """Channels of the first convolution."""
        return multiple_of_8(_STEM * self.width)

    @property
    def features(self) -> int:
        """Channels before the last layer."""
        return multiple_of_8(_FEATURES * self.width)

    @cached_property
    def stages(self) -> tuple[tuple[BlockShape, ...], ...]:
        """The blocks of each stage."""
        stages, inputs = [], self.stem
        for factor, kernel, channels, count, stride in _STAGES:
            outputs = multiple_of_8(channels * self.width)
            blocks = []
            for place in range(math.ceil(count * self.depth)):
                step = 1 if place else stride
                squeezed = max(1, inputs // 4)
                blocks.append(
                    BlockShape(inputs, inputs * factor, outputs, kernel, step, factor > 1, squeezed)
                )
                inputs = outputs
            stages.append(tuple(blocks))
        return tuple(stages)

    def build(self, class_count: int, library: Library = "torchvision") -> EfficientNet:
        """The network with random weights."""
        del library
        return EfficientNet(self, class_count)

    def timm_layers(self) -> dict[str, str]:
        """Our layer names by timm's."""
        table = {"conv_stem": "features.0.0", "bn1": "features.0.1", "classifier": "classifier.1"}
        for stage, place, block in numbered(self.stages):
            table |= timm_block(block, f"blocks.{stage}.{place}", f"features.{stage + 1}.{place}")
        end = len(self.stages) + 1
        return table | {"conv_head": f"features.{end}.0", "bn2": f"features.{end}.1"}


class EfficientNet(nn.Module):
    """A classifier: float ``[B,3,H,W]``, normalised as in its training, to logits ``[B,classes]``."""

    def __init__(self, shape: EfficientNetShape, class_count: int) -> None:
        super().__init__()
        stages = [
            nn.Sequential(*(InvertedResidual(block, _ACTIVATIONS) for block in blocks))
            for blocks in shape.stages
        ]
        self.features = nn.Sequential(
            conv_norm(3, shape.stem, 3, 2, activation=nn.SiLU),
            *stages,
            conv_norm(shape.stages[-1][-1].outputs, shape.features, activation=nn.SiLU),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(shape.features, class_count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        logits: torch.Tensor = self.classifier(pooled(self.features(x)))
        return logits


_SIZES: dict[Library, dict[str, tuple[int, float]]] = {
    "torchvision": {
        "EfficientNet-B0": (224, 224 / 256),
        "EfficientNet-B1": (240, 240 / 256),
        "EfficientNet-B2": (288, 1.0),
        "EfficientNet-B3": (300, 300 / 320),
        "EfficientNet-B4": (380, 380 / 384),
    },
    "timm": {
        "EfficientNet-B0": (224, 0.875),
        "EfficientNet-B1": (240, 0.9),
        "EfficientNet-B2": (256, 0.875),
        "EfficientNet-B3": (288, 0.875),
        "EfficientNet-B4": (320, 0.875),
    },
}
"""Side of the input and share of the shorter side that the crop takes."""


def _expected(shape: EfficientNetShape, library: Library) -> Expected:
    side, crop = _SIZES[library].get(shape.name, (224, 0.875))
    return Expected((side, side), crop)


FAMILY = Family(
    "EfficientNet",
    (
        EfficientNetShape("EfficientNet-B0", 1.0, 1.0),
        EfficientNetShape("EfficientNet-B1", 1.0, 1.1),
        EfficientNetShape("EfficientNet-B2", 1.1, 1.2),
        EfficientNetShape("EfficientNet-B3", 1.2, 1.4),
        EfficientNetShape("EfficientNet-B4", 1.4, 1.8),
    ),
    {
        "torchvision": Marks("classifier.1.weight", ("features.1.0.block.0.0.weight",)),
        "timm": Marks(
            "classifier.weight",
            ("conv_stem.weight", "blocks.0.0.se.conv_reduce.weight", "bn2.weight"),
        ),
    },
    _expected,
    EfficientNetShape("EfficientNet-B0", 1.0, 1.0),
    tf_models=True,
)
