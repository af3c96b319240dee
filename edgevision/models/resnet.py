"""ResNet (arXiv 1512.03385) with torchvision's parameter names: ``layer1.0.conv1.weight``, ``fc.bias``.

Bottlenecks halve the map in their 3 x 3 convolution (the variant called v1.5), as torchvision's checkpoints
expect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

Stem = Literal["imagenet", "cifar"]

_STAGES: dict[int, tuple[int, int, int, int]] = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: torch.Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return out


class ResNetBottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        out: torch.Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return out


class ResNet(nn.Module):
    """A classifier: float ``[B,3,H,W]``, normalised as in its training, to logits ``[B,classes]``.

    The "cifar" stem is one 3 x 3 convolution of stride 1 without max-pool, for images of about 32 px.
    """

    def __init__(self, depth: int, class_count: int, stem: Stem = "imagenet") -> None:
        super().__init__()
        self.depth = depth
        self.class_count = class_count
        self.stem = stem
        block = BasicBlock if depth < 50 else ResNetBottleneck
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        inputs = _WIDTHS[0]
        for index, (width, count) in enumerate(zip(_WIDTHS, _STAGES[depth], strict=True)):
            blocks: list[nn.Module] = []
            for number in range(count):
                blocks.append(block(inputs, width, 2 if index and not number else 1))
                inputs = width * block.expansion
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, class_count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for index in range(len(_WIDTHS)):
            x = self.get_submodule(f"layer{index + 1}")(x)
        logits: torch.Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def resnet(depth: int, class_count: int = 1000, *, stem: Stem = "imagenet") -> ResNet:
    """A ResNet of depth 18, 34 or 50 with random weights (arXiv 1502.01852), ready to train."""
    if depth not in _STAGES:
        raise UsageError(f"ResNet depth {depth} is not one of {', '.join(map(str, _STAGES))}")
    model = ResNet(depth, class_count, stem)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def resnet_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> ResNet:
    """The ResNet with these weights, in eval mode; depth, classes and stem are read from names and shapes.

    A prefix of all names ("model.", "backbone.") is removed. Raises `CheckpointError` if the weights are not those of a
    ResNet 18, 34 or 50.
    """
    tensors = without_prefix(tensors, "fc.weight")
    stem, head = tensors.get("conv1.weight"), tensors.get("fc.weight")
    if stem is None or head is None or stem.ndim != 4 or head.ndim != 2:
        raise CheckpointError("not the weights of a ResNet: expected conv1.weight and fc.weight")
    counts = tuple(
        len({name.split(".")[1] for name in tensors if name.startswith(f"layer{stage}.")})
        for stage in range(1, 5)
    )
    bottleneck = "layer1.0.conv3.weight" in tensors
    depth = next((d for d, stages in _STAGES.items() if stages == counts and (d >= 50) == bottleneck), None)
    if depth is None:
        kind = "bottlenecks" if bottleneck else "basic blocks"
        raise CheckpointError(
            f"a ResNet of {counts} {kind} is not one of ResNet {', '.join(map(str, _STAGES))}"
        )
    with torch.device("meta"):
        model = ResNet(depth, head.shape[0], "cifar" if stem.shape[2] == 3 else "imagenet")
    assign_weights(model, tensors)
    return model.eval()


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """None if the input can be added unchanged; registered as a module in any case, as in torchvision."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
