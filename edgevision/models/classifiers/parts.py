"""Parts that several families of classifiers share."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

Activation = Callable[[], nn.Module]
"""Makes an activation's module."""

EPS = 1e-5
"""Added to the variance by batch normalisation, unless a family states another value."""


def multiple_of_8(channels: float) -> int:
    """Channels rounded to a multiple of 8 that is at least nine tenths of them, as in the MobileNet papers' models."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    *,
    activation: Activation | None = None,
    eps: float = EPS,
) -> nn.Sequential:
    """A convolution that keeps the map's size at stride 1 (item 0), batch normalisation (1), an activation if given."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation()]))


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the map's mean (arXiv 1709.01507)."""

    def __init__(self, channels: int, squeezed: int, activation: Activation, gate: Activation) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation, self.gate = activation(), gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        mean = F.adaptive_avg_pool2d(x, 1)
        scaled: torch.Tensor = x * self.gate(self.fc2(self.activation(self.fc1(mean))))
        return scaled


def pooled(x: torch.Tensor) -> torch.Tensor:
    """The mean of each channel: ``[B,C,H,W]`` to ``[B,C]``."""
    return F.adaptive_avg_pool2d(x, 1).flatten(1)
