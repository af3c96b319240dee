"""MobileNetV2 (arXiv 1801.04381) with torchvision's parameter names: ``features.1.conv.0.0.weight``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from edgevision.models.classifiers.family import Family, Library, Marks, usual_input
from edgevision.models.classifiers.inverted import BlockShape, numbered
from edgevision.models.classifiers.parts import conv_norm, multiple_of_8, pooled

_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Table 2 of the paper: factor of the expansion, channels, blocks, stride of the first block."""
_STEM, _FEATURES = 32, 1280


@dataclass(frozen=True)
class MobileNetV2Shape:
    """MobileNetV2 with all channels multiplied by `width`."""

    width: float = 1.0

    @property
    def name(self) -> str:
        """The name in messages."""
        return "MobileNetV2" if self.width == 1 else f"MobileNetV2 x{self.width:g}"

    @property
    def stem(self) -> int:
        """Channels of the first convolution."""
        return multiple_of_8(_STEM * self.width)

    @property
    def features(self) -> int:
        """Channels before the last layer; a small `width` does not reduce them."""
        return multiple_of_8(_FEATURES * max(1.0, self.width))

    @cached_property
    def stages(self) -> tuple[tuple[BlockShape, ...], ...]:
        """The blocks of each stage."""
        stages, inputs = [], self.stem
        for factor, channels, count, stride in _STAGES:
            outputs = multiple_of_8(channels * self.width)
            blocks = []
            for place in range(count):
                step = 1 if place else stride
                blocks.append(BlockShape(inputs, inputs * factor, outputs, 3, step, factor > 1))
                inputs = outputs
            stages.append(tuple(blocks))
        return tuple(stages)

    def build(self, class_count: int, library: Library = "torchvision") -> MobileNetV2:
        """The network with random weights."""
        del library
        return MobileNetV2(self, class_count)

    def timm_layers(self) -> dict[str, str]:
        """Our layer names by timm's."""
        table = {"conv_stem": "features.0.0", "bn1": "features.0.1", "classifier": "classifier.1"}
        for number, (stage, place, block) in enumerate(numbered(self.stages), start=1):
            theirs, ours = f"blocks.{stage}.{place}", f"features.{number}.conv"
            convs = ("conv_pw", "conv_dw", "conv_pwl") if block.expands else ("conv_dw", "conv_pw")
            last = len(convs) - 1
            for index, conv in enumerate(convs):
                inside = (f"{index}.0", f"{index}.1") if index < last else (f"{last}", f"{last + 1}")
                table[f"{theirs}.{conv}"] = f"{ours}.{inside[0]}"
                table[f"{theirs}.bn{index + 1}"] = f"{ours}.{inside[1]}"
        end = 1 + sum(len(blocks) for blocks in self.stages)
        return table | {"conv_head": f"features.{end}.0", "bn2": f"features.{end}.1"}


class _Block(nn.Module):
    """An inverted residual block whose last convolution and normalisation are items of `conv` themselves."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.adds = shape.adds
        hidden = shape.hidden
        first = [conv_norm(shape.inputs, hidden, activation=nn.ReLU6)] if shape.expands else []
        self.conv = nn.Sequential(
            *first,
            conv_norm(hidden, hidden, 3, shape.stride, hidden, activation=nn.ReLU6),
            nn.Conv2d(hidden, shape.outputs, 1, bias=False),
            nn.BatchNorm2d(shape.outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        y: torch.Tensor = self.conv(x)
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """A classifier: float ``[B,3,H,W]``, normalised as in its training, to logits ``[B,classes]``."""

    def __init__(self, shape: MobileNetV2Shape, class_count: int) -> None:
        super().__init__()
        blocks = [block for stage in shape.stages for block in stage]
        self.features = nn.Sequential(
            conv_norm(3, shape.stem, 3, 2, activation=nn.ReLU6),
            *(_Block(block) for block in blocks),
            conv_norm(blocks[-1].outputs, shape.features, activation=nn.ReLU6),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(shape.features, class_count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        logits: torch.Tensor = self.classifier(pooled(self.features(x)))
        return logits


FAMILY = Family(
    "MobileNetV2",
    tuple(MobileNetV2Shape(width) for width in (1.0, 0.35, 0.5, 0.75, 1.4)),
    {
        "torchvision": Marks("classifier.1.weight", ("features.1.conv.0.0.weight",)),
        "timm": Marks(
            "classifier.weight",
            ("conv_stem.weight", "blocks.0.0.conv_dw.weight", "bn2.weight"),
            ("blocks.0.0.se.conv_reduce.weight",),
        ),
    },
    usual_input,
    MobileNetV2Shape(),
)
