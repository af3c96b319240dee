"""MobileNetV3 small and large (arXiv 1905.02244) with torchvision's names: ``features.1.block.0.0.weight``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import nn

from edgevision.models.classifiers.family import Family, Library, Marks, usual_input
from edgevision.models.classifiers.inverted import (
    BlockActivations,
    BlockShape,
    InvertedResidual,
    numbered,
    timm_block,
)
from edgevision.models.classifiers.parts import conv_norm, multiple_of_8, pooled

Row = tuple[int, int, int, bool, bool, int]

_LARGE: tuple[tuple[Row, ...], ...] = (
    ((3, 16, 16, False, False, 1),),
    ((3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1)),
    ((5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1)),
    (
        (3, 240, 80, False, True, 2),
        (3, 200, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
    ),
    ((3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1)),
    ((5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1)),
)
"""Table 1 of the paper, blocks of equal channels together: kernel, expansion, channels, SE, h-swish, stride."""

_SMALL: tuple[tuple[Row, ...], ...] = (
    ((3, 16, 16, True, False, 2),),
    ((3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1)),
    ((5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1)),
    ((5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1)),
    ((5, 288, 96, True, True, 2), (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1)),
)
"""Table 2 of the paper, in the same form."""

_STEM = 16
_LAST = {"large": 1280, "small": 1024}
"""Channels of the layer before the last one, at every width."""
_EPS: dict[Library, float] = {"torchvision": 1e-3, "timm": 1e-5}
"""Added to the variance by batch normalisation."""


@dataclass(frozen=True)
class MobileNetV3Shape:
    """MobileNetV3 with the channels of its blocks multiplied by `width`."""

    size: Literal["large", "small"] = "small"
    width: float = 1.0

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"MobileNetV3-{self.size}" + ("" if self.width == 1 else f" x{self.width:g}")

    @property
    def features(self) -> int:
        """Channels before the last layer."""
        return _LAST[self.size]

    @cached_property
    def rows(self) -> tuple[tuple[Row, ...], ...]:
        """The table of the paper, by stages."""
        return _LARGE if self.size == "large" else _SMALL

    @cached_property
    def stages(self) -> tuple[tuple[BlockShape, ...], ...]:
        """The blocks of each stage."""
        stages, inputs, table_inputs = [], _STEM, _STEM
        for stage, rows in enumerate(self.rows):
            blocks = []
            for kernel, expansion, channels, squeezes, _, stride in rows:
                # The paper's ratio of the expansion, so that it fits the block's own inputs at any width.
                hidden = multiple_of_8(inputs * expansion / table_inputs)
                outputs = multiple_of_8(channels * self.width)
                squeezed = multiple_of_8(hidden / 4) if squeezes else 0
                blocks.append(BlockShape(inputs, hidden, outputs, kernel, stride, stage > 0, squeezed))
                inputs, table_inputs = outputs, channels
            stages.append(tuple(blocks))
        return tuple(stages)

    @property
    def last_width(self) -> int:
        """Channels of the last convolution on maps: six times those of the last block."""
        return 6 * self.stages[-1][-1].outputs

    def build(self, class_count: int, library: Library = "torchvision") -> MobileNetV3:
        """The network with random weights, with the constants of a library's normalisation."""
        return MobileNetV3(self, class_count, _EPS[library])

    def timm_layers(self) -> dict[str, str]:
        """Our layer names by timm's."""
        table = {"conv_stem": "features.0.0", "bn1": "features.0.1"}
        number = 0
        for number, (stage, place, block) in enumerate(numbered(self.stages), start=1):
            table |= timm_block(block, f"blocks.{stage}.{place}", f"features.{number}")
        last = f"blocks.{len(self.stages)}.0"
        return table | {
            f"{last}.conv": f"features.{number + 1}.0",
            f"{last}.bn1": f"features.{number + 1}.1",
            "conv_head": "classifier.0",
            "classifier": "classifier.3",
        }


class MobileNetV3(nn.Module):
    """A classifier: float ``[B,3,H,W]``, normalised as in its training, to logits ``[B,classes]``."""

    def __init__(self, shape: MobileNetV3Shape, class_count: int, eps: float) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for stage, place, block in numbered(shape.stages):
            act = nn.Hardswish if shape.rows[stage][place][4] else nn.ReLU
            blocks.append(InvertedResidual(block, BlockActivations(act, nn.ReLU, nn.Hardsigmoid), eps))
        last, width = shape.stages[-1][-1].outputs, shape.last_width
        self.features = nn.Sequential(
            conv_norm(3, _STEM, 3, 2, activation=nn.Hardswish, eps=eps),
            *blocks,
            conv_norm(last, width, activation=nn.Hardswish, eps=eps),
        )
        self.classifier = nn.Sequential(
            nn.Linear(width, shape.features),
            nn.Hardswish(),
            nn.Dropout(0.2),
            nn.Linear(shape.features, class_count),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        logits: torch.Tensor = self.classifier(pooled(self.features(x)))
        return logits


FAMILY = Family(
    "MobileNetV3",
    (
        *(MobileNetV3Shape("small", width) for width in (1.0, 0.5, 0.75)),
        *(MobileNetV3Shape("large", width) for width in (1.0, 0.75)),
    ),
    {
        "torchvision": Marks("classifier.3.weight", ("features.1.block.0.0.weight", "classifier.0.weight")),
        "timm": Marks(
            "classifier.weight",
            ("conv_stem.weight", "blocks.0.0.conv_dw.weight", "conv_head.bias"),
        ),
    },
    usual_input,
    MobileNetV3Shape(),
    tf_models=True,
)
