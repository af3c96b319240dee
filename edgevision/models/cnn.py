"""A small convolutional classifier for small images: a plain stack of 3 x 3 convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

WIDTHS = (32, 64, 64, 128, 128, 256)
"""Channels of each convolution; the map is halved at each increase."""

_DROPOUT = 0.2


class ConvBnRelu(nn.Module):
    """A 3 x 3 convolution, batch normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        out: torch.Tensor = self.relu(self.bn(self.conv(x)))
        return out


class Cnn(nn.Module):
    """A classifier: float ``[B,3,H,W]`` of any size from 8 px to logits ``[B,classes]``.

    The first convolution keeps the size; each later one halves it if it has more channels than the previous one.
    Averaging over the last map makes the input size free.
    """

    def __init__(self, class_count: int = 10, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        if class_count < 1 or not widths or min(widths) < 1:
            raise UsageError(
                f"class count and widths must be positive, received {class_count} and {list(widths)}"
            )
        self.class_count = class_count
        self.widths = tuple(widths)
        inputs = (3, *self.widths[:-1])
        self.features = nn.Sequential(
            *(
                ConvBnRelu(before, after, 2 if index and after > before else 1)
                for index, (before, after) in enumerate(zip(inputs, self.widths, strict=True))
            )
        )
        self.dropout = nn.Dropout(_DROPOUT)
        self.classifier = nn.Linear(self.widths[-1], class_count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        logits: torch.Tensor = self.classifier(self.dropout(self.pooled(x)))
        return logits

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """Images to the features ``[B,D]`` that the classifier's last layer weights."""
        features: torch.Tensor = self.features(x).mean((2, 3))
        return features


def cnn_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> Cnn:
    """The `Cnn` with these weights, in eval mode; widths and classes are read from the shapes.

    Raises `CheckpointError` if the weights belong to another network.
    """
    tensors = without_prefix(tensors, "features.0.conv.weight")
    widths: list[int] = []
    while (weight := tensors.get(f"features.{len(widths)}.conv.weight")) is not None:
        widths.append(weight.shape[0])
    head = tensors.get("classifier.weight")
    if not widths or head is None:
        raise CheckpointError(
            "not the weights of a Cnn: expected features.0.conv.weight and classifier.weight"
        )
    with torch.device("meta"):
        model = Cnn(head.shape[0], widths)
    assign_weights(model, tensors)
    return model.eval()
