"""Super-resolution of images by sub-pixel convolution (Shi et al., arXiv 1609.05158)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edgevision.datasets.cubic import cubic
from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

FACTORS = (2, 3, 4)
"""Factors by which width and height grow."""


class Upscaler(nn.Module):
    """Enlarges images: float ``[B,3,H,W]`` to ``[B,3,H*factor,W*factor]``, in the same pixel format.

    Convolutions of `width` channels at the input's resolution predict what is missing from the bicubic enlargement,
    `factor` x `factor` values of each pixel. Every second one adds its input (residual learning, arXiv 1707.02921).
    """

    def __init__(self, factor: int = 2, width: int = 32, depth: int = 8) -> None:
        super().__init__()
        if factor not in FACTORS or width < 1 or depth < 2 or depth % 2:
            raise UsageError(
                f"factor must be one of {', '.join(map(str, FACTORS))}, width positive and depth even; received"
                f" {factor}, {width} and {depth}"
            )
        self.factor, self.width, self.depth = factor, width, depth
        self.first = nn.Conv2d(3, width, 3, padding=1)
        hidden = [nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)]
        self.body = nn.ModuleList(hidden)
        self.last = nn.Conv2d(width, 3 * factor**2, 3, padding=1)
        self.base: torch.Tensor
        self.register_buffer("base", _bicubic_filters(factor).repeat(3, 1, 1, 1), persistent=False)
        with torch.no_grad():
            self.last.weight.mul_(0.1)  # the first prediction is close to the bicubic enlargement
            self.last.bias.zero_()  # type: ignore[union-attr]  # the layer has a bias
            for outer in hidden[1::2]:  # a pair that is added to trained ones changes nothing at first
                outer.weight.zero_()
                outer.bias.zero_()  # type: ignore[union-attr]  # the layer has a bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Small images to large ones."""
        base = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), self.base, groups=3)
        features = F.relu(self.first(x))
        for inner, outer in zip(self.body[::2], self.body[1::2], strict=True):
            features = F.relu(features + outer(F.relu(inner(features))))
        return F.pixel_shuffle(base + self.last(features), self.factor)


def _bicubic_filters(factor: int) -> torch.Tensor:
    """The bicubic enlargement as filters ``[factor**2,1,5,5]``, one for each pixel of a block, row by row.

    Half-pixel centres, the kernel of OpenCV.
    """
    centres = (np.arange(factor) + 0.5) / factor - 0.5
    rows = cubic(np.arange(-2, 3)[None] - centres[:, None], -0.75)
    filters = np.einsum("iy,jx->ijyx", rows, rows).reshape(factor**2, 1, 5, 5)
    return torch.from_numpy(filters.astype(np.float32))


def upscaler_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> Upscaler:
    """The `Upscaler` with these weights, in eval mode; its sizes are read from the shapes.

    Raises `CheckpointError` if the weights belong to another network.
    """
    tensors = without_prefix(tensors, "first.weight")
    first, last = tensors.get("first.weight"), tensors.get("last.weight")
    depth = sum(name.startswith("body.") and name.endswith(".weight") for name in tensors)
    factors = {3 * factor**2: factor for factor in FACTORS}
    if (
        first is None
        or last is None
        or first.ndim != 4
        or last.shape[0] not in factors
        or depth % 2
        or not depth
    ):
        raise CheckpointError(
            "not the weights of an Upscaler: expected first.weight, last.weight and body.0.weight to body.N.weight"
        )
    with torch.device("meta"):
        model = Upscaler(factors[last.shape[0]], first.shape[0], depth)
    assign_weights(model, tensors)
    return model.eval()
