"""U-Net for semantic segmentation (arXiv 1505.04597), with batch normalisation and without its cropping."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

WIDTHS = (16, 32, 64, 128, 192)
"""Channels of each level, from half the input's resolution downwards."""


class DoubleConv(nn.Module):
    """Two 3 x 3 convolutions, each with batch normalisation and ReLU; the first may halve the map."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class Up(nn.Module):
    """Doubles the map, joins the encoder's map of that size, and convolves."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.conv = DoubleConv(inputs + skipped, outputs)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Combine the deeper map and the encoder's into one of the encoder's size."""
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        joined: torch.Tensor = self.conv(torch.cat([skip, x], 1))
        return joined


class UNet(nn.Module):
    """A segmenter: float ``[B,3,H,W]`` to logits ``[B,classes,H,W]``; both sides are multiples of `stride`.

    The first level works at half the input's resolution, and logits are scaled up bilinearly at the end. This takes a
    quarter of the arithmetic, and edges are half a pixel less sharp.
    """

    def __init__(self, class_count: int = 11, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        if class_count < 1 or len(widths) < 2 or min(widths) < 1:
            raise UsageError(
                f"class count and at least two widths must be positive, received {class_count} and {list(widths)}"
            )
        self.class_count, self.widths = class_count, tuple(widths)
        self.stride = 2 ** len(widths)
        inputs = (3, *self.widths[:-1])
        self.down = nn.ModuleList(
            DoubleConv(before, after, 2) for before, after in zip(inputs, self.widths, strict=True)
        )
        levels = self.widths[::-1]
        self.up = nn.ModuleList(Up(deep, skip, skip) for deep, skip in itertools.pairwise(levels))
        self.classifier = nn.Conv2d(self.widths[0], class_count, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        skips: list[torch.Tensor] = []
        for level in self.down:
            x = level(x)
            skips.append(x)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            x = level(x, skip)
        return F.interpolate(self.classifier(x), scale_factor=2.0, mode="bilinear", align_corners=False)


def unet_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> UNet:
    """The `UNet` with these weights, in eval mode; widths and classes are read from the shapes.

    Raises `CheckpointError` if the weights belong to another network.
    """
    tensors = without_prefix(tensors, "down.0.conv1.weight")
    widths: list[int] = []
    while (weight := tensors.get(f"down.{len(widths)}.conv1.weight")) is not None:
        widths.append(weight.shape[0])
    head = tensors.get("classifier.weight")
    if len(widths) < 2 or head is None:
        raise CheckpointError("not the weights of a UNet: expected down.0.conv1.weight and classifier.weight")
    with torch.device("meta"):
        model = UNet(head.shape[0], widths)
    assign_weights(model, tensors)
    return model.eval()
