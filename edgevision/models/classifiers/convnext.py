"""ConvNeXt (arXiv 2201.03545) with torchvision's parameter names: ``features.1.0.layer_scale``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError
from edgevision.models.classifiers.family import Expected, Family, Library, Marks
from edgevision.models.classifiers.parts import pooled

_EPS = 1e-6
_STAGES = 4


@dataclass(frozen=True)
class ConvNextShape:
    """Blocks and channels of the four stages; tiny's."""

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)

    @property
    def name(self) -> str:
        """The name in the paper, or the channels of another size."""
        return _NAMES.get(self, f"ConvNeXt {'-'.join(map(str, self.widths))}")

    @property
    def features(self) -> int:
        """Channels before the last layer."""
        return self.widths[-1]

    def build(self, class_count: int, library: Library = "torchvision") -> ConvNext:
        """The network with random weights."""
        del library
        return ConvNext(self, class_count)

    def timm_layers(self) -> dict[str, str]:
        """Our layer and tensor names by timm's."""
        table = {
            "stem.0": "features.0.0",
            "stem.1": "features.0.1",
            "head.norm": "classifier.0",
            "head.fc": "classifier.2",
        }
        for stage, depth in enumerate(self.depths):
            if stage:
                table |= {f"stages.{stage}.downsample.{i}": f"features.{2 * stage}.{i}" for i in (0, 1)}
            for place in range(depth):
                theirs, ours = f"stages.{stage}.blocks.{place}", f"features.{2 * stage + 1}.{place}"
                table |= {
                    f"{theirs}.gamma": f"{ours}.layer_scale",
                    f"{theirs}.conv_dw": f"{ours}.block.0",
                    f"{theirs}.norm": f"{ours}.block.2",
                    f"{theirs}.mlp.fc1": f"{ours}.block.3",
                    f"{theirs}.mlp.fc2": f"{ours}.block.5",
                }
        return table


_NAMES = {
    ConvNextShape(): "ConvNeXt-T",
    ConvNextShape((3, 3, 27, 3)): "ConvNeXt-S",
    ConvNextShape((3, 3, 27, 3), (128, 256, 512, 1024)): "ConvNeXt-B",
    ConvNextShape((3, 3, 27, 3), (192, 384, 768, 1536)): "ConvNeXt-L",
}
"""Section 3 of the paper."""


class _ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of ``[B,C,H,W]``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        last = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return last.permute(0, 3, 1, 2)


class _Permute(nn.Module):
    """A permutation of the axes."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        return x.permute(self.axes)


class _Block(nn.Module):
    """7 x 7 depthwise convolution, layer normalisation and two linear layers, scaled, beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer_scale = nn.Parameter(torch.ones(width, 1, 1))
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            _Permute(0, 2, 3, 1),
            nn.LayerNorm(width, _EPS),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            _Permute(0, 3, 1, 2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        out: torch.Tensor = x + self.layer_scale * self.block(x)
        return out


class ConvNext(nn.Module):
    """A classifier: float ``[B,3,H,W]``, normalised as in its training, to logits ``[B,classes]``."""

    def __init__(self, shape: ConvNextShape, class_count: int) -> None:
        super().__init__()
        first = shape.widths[0]
        layers: list[nn.Module] = [nn.Sequential(nn.Conv2d(3, first, 4, 4), _ChannelNorm(first, _EPS))]
        reductions = [
            nn.Sequential(_ChannelNorm(before, _EPS), nn.Conv2d(before, after, 2, 2))
            for before, after in itertools.pairwise(shape.widths)
        ]
        for stage, (depth, width) in enumerate(zip(shape.depths, shape.widths, strict=True)):
            if stage:
                layers.append(reductions[stage - 1])
            layers.append(nn.Sequential(*(_Block(width) for _ in range(depth))))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.LayerNorm(shape.features, _EPS), nn.Flatten(1), nn.Linear(shape.features, class_count)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        logits: torch.Tensor = self.classifier(pooled(self.features(x)))
        return logits


def _shapes(tensors: Mapping[str, torch.Tensor], library: Library) -> tuple[ConvNextShape, ...]:
    """The only shape that fits: blocks are counted, and channels are those of the first block of each stage."""
    names = [
        f"features.{2 * stage + 1}.{{}}.block.0.weight"
        if library == "torchvision"
        else f"stages.{stage}.blocks.{{}}.conv_dw.weight"
        for stage in range(_STAGES)
    ]
    depths = tuple(next(i for i in itertools.count() if name.format(i) not in tensors) for name in names)
    if 0 in depths:
        raise CheckpointError(f"a ConvNeXt of {list(depths)} blocks: expected four stages")
    first = [tensors[name.format(0)] for name in names]
    if any(weight.ndim != 4 or not weight.shape[0] for weight in first):
        raise CheckpointError(f"{names[0].format(0)} and others are not weights of depthwise convolutions")
    return (ConvNextShape(depths, tuple(weight.shape[0] for weight in first)),)


_CROPS: dict[str, float] = {
    "ConvNeXt-T": 224 / 236,
    "ConvNeXt-S": 224 / 230,
    "ConvNeXt-B": 224 / 232,
}
"""torchvision's share of the shorter side that the crop takes."""


def _expected(shape: ConvNextShape, library: Library) -> Expected:
    crop = _CROPS.get(shape.name, 0.875) if library == "torchvision" else 0.875
    return Expected((224, 224), crop)


FAMILY = Family(
    "ConvNeXt",
    _shapes,
    {
        "torchvision": Marks("classifier.2.weight", ("features.1.0.layer_scale",)),
        "timm": Marks("head.fc.weight", ("stem.0.weight", "stages.0.blocks.0.conv_dw.weight")),
    },
    _expected,
    ConvNextShape(),
)
