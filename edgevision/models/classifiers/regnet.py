"""RegNetX and RegNetY, 200 MF to 8 GF (arXiv 2003.13678), with torchvision's names: ``trunk_output.block1``."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from edgevision.models.classifiers.family import Family, Library, Marks, usual_input
from edgevision.models.classifiers.parts import SqueezeExcite, conv_norm, pooled

_STEM = 32


@dataclass(frozen=True)
class RegNetShape:
    """Blocks, channels and channels of each group of the four stages; `kind` "y" has squeeze-and-excitation."""

    kind: Literal["x", "y"]
    size: str
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    group: int

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"RegNet{self.kind.upper()}-{self.size}"

    @property
    def features(self) -> int:
        """Channels before the last layer."""
        return self.widths[-1]

    def build(self, class_count: int, library: Library = "torchvision") -> RegNet:
        """The network with random weights."""
        del library
        return RegNet(self, class_count)

    def timm_layers(self) -> dict[str, str]:
        """Our layer names by timm's."""
        table = {"stem.conv": "stem.0", "stem.bn": "stem.1", "head.fc": "fc"}
        parts = {"conv1": "f.a", "conv2": "f.b", "conv3": "f.c", "downsample": "proj"}
        for stage, depth in enumerate(self.depths, start=1):
            for place in range(depth):
                theirs = f"s{stage}.b{place + 1}"
                ours = f"trunk_output.block{stage}.block{stage}-{place}"
                for name, part in parts.items():
                    table |= {
                        f"{theirs}.{name}.conv": f"{ours}.{part}.0",
                        f"{theirs}.{name}.bn": f"{ours}.{part}.1",
                    }
                table |= {f"{theirs}.se.{layer}": f"{ours}.f.se.{layer}" for layer in ("fc1", "fc2")}
        return table


class _Block(nn.Module):
    """1 x 1, grouped 3 x 3 and 1 x 1 convolutions beside a shortcut (figure 4 of the paper)."""

    def __init__(self, inputs: int, width: int, stride: int, group: int, *, squeezes: bool) -> None:
        super().__init__()
        self.proj = conv_norm(inputs, width, 1, stride) if stride > 1 or inputs != width else None
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["a"] = conv_norm(inputs, width, activation=nn.ReLU)
        layers["b"] = conv_norm(width, width, 3, stride, width // min(group, width), activation=nn.ReLU)
        if squeezes:
            layers["se"] = SqueezeExcite(width, round(inputs / 4), nn.ReLU, nn.Sigmoid)
        layers["c"] = conv_norm(width, width)
        self.f = nn.Sequential(layers)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        out: torch.Tensor = self.activation((x if self.proj is None else self.proj(x)) + self.f(x))
        return out


class RegNet(nn.Module):
    """A classifier: float ``[B,3,H,W]``, normalised as in its training, to logits ``[B,classes]``."""

    def __init__(self, shape: RegNetShape, class_count: int) -> None:
        super().__init__()
        self.stem = conv_norm(3, _STEM, 3, 2, activation=nn.ReLU)
        inputs = _STEM
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        for stage, (depth, width) in enumerate(zip(shape.depths, shape.widths, strict=True), start=1):
            blocks: OrderedDict[str, nn.Module] = OrderedDict()
            for place in range(depth):
                step = 1 if place else 2
                blocks[f"block{stage}-{place}"] = _Block(
                    inputs, width, step, shape.group, squeezes=shape.kind == "y"
                )
                inputs = width
            stages[f"block{stage}"] = nn.Sequential(blocks)
        self.trunk_output = nn.Sequential(stages)
        self.fc = nn.Linear(inputs, class_count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        logits: torch.Tensor = self.fc(pooled(self.trunk_output(self.stem(x))))
        return logits


FAMILY = Family(
    "RegNet",
    (
        RegNetShape("x", "200MF", (1, 1, 4, 7), (24, 56, 152, 368), 8),
        RegNetShape("x", "400MF", (1, 2, 7, 12), (32, 64, 160, 384), 16),
        RegNetShape("x", "400MF", (1, 2, 7, 12), (32, 64, 160, 400), 16),  # torchvision's
        RegNetShape("x", "600MF", (1, 3, 5, 7), (48, 96, 240, 528), 24),
        RegNetShape("x", "800MF", (1, 3, 7, 5), (64, 128, 288, 672), 16),
        RegNetShape("x", "1.6GF", (2, 4, 10, 2), (72, 168, 408, 912), 24),
        RegNetShape("x", "3.2GF", (2, 6, 15, 2), (96, 192, 432, 1008), 48),
        RegNetShape("x", "4.0GF", (2, 5, 14, 2), (80, 240, 560, 1360), 40),
        RegNetShape("x", "6.4GF", (2, 4, 10, 1), (168, 392, 784, 1624), 56),
        RegNetShape("x", "8.0GF", (2, 5, 15, 1), (80, 240, 720, 1920), 120),
        RegNetShape("y", "200MF", (1, 1, 4, 7), (24, 56, 152, 368), 8),
        RegNetShape("y", "400MF", (1, 3, 6, 6), (48, 104, 208, 440), 8),
        RegNetShape("y", "600MF", (1, 3, 7, 4), (48, 112, 256, 608), 16),
        RegNetShape("y", "800MF", (1, 3, 8, 2), (64, 128, 320, 768), 16),
        RegNetShape("y", "800MF", (1, 3, 8, 2), (64, 144, 320, 784), 16),  # torchvision's
        RegNetShape("y", "1.6GF", (2, 6, 17, 2), (48, 120, 336, 888), 24),
        RegNetShape("y", "3.2GF", (2, 5, 13, 1), (72, 216, 576, 1512), 24),
        RegNetShape("y", "4.0GF", (2, 6, 12, 2), (128, 192, 512, 1088), 64),
        RegNetShape("y", "6.4GF", (2, 7, 14, 2), (144, 288, 576, 1296), 72),
        RegNetShape("y", "8.0GF", (2, 4, 10, 1), (168, 448, 896, 2016), 56),
        RegNetShape("y", "8.0GF", (2, 4, 10, 1), (224, 448, 896, 2016), 56),  # torchvision's
    ),
    {
        "torchvision": Marks("fc.weight", ("trunk_output.block1.block1-0.f.a.0.weight",)),
        "timm": Marks("head.fc.weight", ("s1.b1.conv1.conv.weight",)),
    },
    usual_input,
    RegNetShape("x", "200MF", (1, 1, 4, 7), (24, 56, 152, 368), 8),
)
"""Figures 15 and 16 of the paper; torchvision rounds the widths of three models to other multiples."""
