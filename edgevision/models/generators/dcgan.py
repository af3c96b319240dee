"""Class-conditional GANs of small images: a convolutional generator, and the network that criticises it.

The shape is DCGAN's (arXiv 1511.06434). Classes enter the critic by projection (arXiv 1802.05637).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

_SLOPE = 0.2
"""Of the critic's leaky ReLU, as in DCGAN."""


class ImageGenerator(nn.Module):
    """Noise float32 ``[B,noise,1,1]`` and labels ``[B]`` to images ``[B,C,size,size]`` in 0..1.

    Two transposed convolutions double a map of ``4 * width`` channels; a convolution makes the image of it.
    """

    def __init__(
        self, channels: int = 1, classes: int = 10, noise: int = 64, width: int = 32, size: int = 28
    ) -> None:
        super().__init__()
        if min(channels, classes, noise, width, size) < 1 or size % 4:
            raise UsageError(
                "channels, classes, noise and width must be positive and size a multiple of 4; received"
                f" {channels}, {classes}, {noise}, {width} and {size}"
            )
        self.channels, self.classes, self.noise, self.width, self.size = channels, classes, noise, width, size
        side = size // 4
        self.start = nn.Linear(noise, 4 * width * side**2, bias=False)
        self.label = nn.Embedding(classes, 4 * width * side**2)
        self.norm1 = nn.BatchNorm2d(4 * width)
        self.up1 = nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.up2 = nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.normal_(self.label.weight, std=0.5)

    def forward(self, noise: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Noise to images."""
        return (self.signed(noise, label) + 1) / 2

    def signed(self, noise: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Noise to images in -1..1."""
        return self.unbounded(noise, label).tanh()

    def unbounded(self, noise: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Noise to images before the hyperbolic tangent."""
        side = self.size // 4
        x = self.start(noise.flatten(1)) + self.label(label.long())
        x = F.relu(self.norm1(x.reshape(-1, 4 * self.width, side, side)))
        x = F.relu(self.norm2(self.up1(x)))
        x = F.relu(self.norm3(self.up2(x)))
        out: torch.Tensor = self.last(x)
        return out


class Critic(nn.Module):
    """Images ``[B,C,size,size]`` in -1..1 and labels ``[B]`` to one number each, large for real images.

    `normalised` adds DCGAN's batch normalisation. A gradient penalty needs a critic without it, because there every
    image would have the others' gradients too (arXiv 1704.00028, section 4).
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 10,
        width: int = 32,
        size: int = 28,
        *,
        normalised: bool = True,
    ) -> None:
        super().__init__()
        widths = (channels, width, 2 * width, 4 * width)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1) for before, after in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(after) if normalised and place else nn.Identity()
            for place, after in enumerate(widths[1:])
        )
        features = 4 * width * (size // 8) ** 2
        self.judgement = nn.Linear(features, 1)
        self.label = nn.Embedding(classes, features)
        nn.init.normal_(self.label.weight, std=features**-0.5)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Images to numbers ``[B]``."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.leaky_relu(norm(convolution(x)), _SLOPE)
        features = x.flatten(1)
        out: torch.Tensor = self.judgement(features)[:, 0] + (features * self.label(label)).sum(1)
        return out


def generator_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> ImageGenerator:
    """The `ImageGenerator` with these weights, in eval mode; its sizes are read from the shapes.

    Raises `CheckpointError` if the weights belong to another network.
    """
    tensors = without_prefix(tensors, "start.weight")
    start, label, last = (tensors.get(name) for name in ("start.weight", "label.weight", "last.weight"))
    if start is None or label is None or last is None or start.ndim != 2 or last.ndim != 4:
        raise CheckpointError(
            "not the weights of a ImageGenerator: expected start.weight, label.weight and last.weight"
        )
    width = last.shape[1]
    size = 4 * round((start.shape[0] / (4 * width)) ** 0.5)
    model = ImageGenerator(last.shape[0], label.shape[0], start.shape[1], width, size)
    assign_weights(model, tensors)
    return model.eval()
