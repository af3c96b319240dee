"""CycleGAN (Zhu et al., arXiv 1703.10593): two generators between two kinds of images, and their critics."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

STRIDE = 4
"""Both sides of an image must be multiples of this."""
_SLOPE = 0.2


class Residual(nn.Module):
    """Two 3x3 convolutions with instance normalisation, whose result is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.inner_norm = nn.InstanceNorm2d(width, affine=True)
        self.outer = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.outer_norm = nn.InstanceNorm2d(width, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        inner = F.relu(self.inner_norm(self.inner(x)))
        out: torch.Tensor = x + self.outer_norm(self.outer(inner))
        return out


class ImageTranslator(nn.Module):
    """Images of one kind to those of another: float ``[B,3,H,W]`` in -1..1 to the same shape and range.

    Convolutions reduce to a quarter of the sides, `depth` residual blocks follow, and two enlargements by nearest
    neighbours with a convolution each return to the full size (arXiv 1603.08155). The features at half the size are
    added to those of the way back, which keeps edges sharp.
    """

    def __init__(self, width: int = 16, depth: int = 4) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise UsageError(f"width and depth must be positive; received {width} and {depth}")
        self.width, self.depth = width, depth
        self.first = nn.Conv2d(3, width, 7, bias=False)
        self.first_norm = nn.InstanceNorm2d(width, affine=True)
        self.down1 = nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False)
        self.down1_norm = nn.InstanceNorm2d(2 * width, affine=True)
        self.down2 = nn.Conv2d(2 * width, 4 * width, 3, 2, 1, bias=False)
        self.down2_norm = nn.InstanceNorm2d(4 * width, affine=True)
        self.body = nn.Sequential(*(Residual(4 * width) for _ in range(depth)))
        self.up1 = nn.Conv2d(4 * width, 2 * width, 3, padding=1, bias=False)
        self.up1_norm = nn.InstanceNorm2d(2 * width, affine=True)
        self.up2 = nn.Conv2d(2 * width, width, 3, padding=1, bias=False)
        self.up2_norm = nn.InstanceNorm2d(width, affine=True)
        self.last = nn.Conv2d(width, 3, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to images."""
        x = F.relu(self.first_norm(self.first(padded(x, 3))))
        half = F.relu(self.down1_norm(self.down1(x)))
        x = self.body(F.relu(self.down2_norm(self.down2(half))))
        x = F.relu(self.up1_norm(self.up1(enlarged(x)))) + half
        x = F.relu(self.up2_norm(self.up2(enlarged(x))))
        out: torch.Tensor = self.last(padded(x, 3))
        return out.tanh()


class TranslatorPair(nn.Module):
    """The generators of both directions."""

    def __init__(self, width: int = 16, depth: int = 4) -> None:
        super().__init__()
        self.forth = ImageTranslator(width, depth)
        """From the first kind of images to the second."""
        self.back = ImageTranslator(width, depth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The first kind of images to the second."""
        out: torch.Tensor = self.forth(x)
        return out


class PatchCritic(nn.Module):
    """Images ``[B,3,H,W]`` in -1..1 to a map ``[B,1,h,w]``, one judgement for each patch of 34 pixels."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths, strides = (3, width, 2 * width, 4 * width), (2, 2, 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride, 1)
            for (before, after), stride in zip(itertools.pairwise(widths), strides, strict=True)
        )
        self.norms = nn.ModuleList(
            nn.InstanceNorm2d(after, affine=True) if place else nn.Identity()
            for place, after in enumerate(widths[1:])
        )
        self.judgement = nn.Conv2d(4 * width, 1, 4, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to judgements: near 1 for real images."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.leaky_relu(norm(convolution(x)), _SLOPE)
        out: torch.Tensor = self.judgement(x)
        return out


def enlarged(x: torch.Tensor) -> torch.Tensor:
    """Twice the sides, each value repeated."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def padded(x: torch.Tensor, edge: int) -> torch.Tensor:
    """Pixels of the edge repeated on all sides."""
    return F.pad(x, (edge, edge, edge, edge), mode="replicate")


def translators_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> TranslatorPair:
    """The `TranslatorPair` with these weights, in eval mode; its sizes are read from the shapes.

    Raises `CheckpointError` if the weights belong to another network.
    """
    tensors = without_prefix(tensors, "forth.first.weight")
    first = tensors.get("forth.first.weight")
    depth = sum(name.startswith("forth.body.") and name.endswith(".inner.weight") for name in tensors)
    if first is None or first.ndim != 4 or not depth:
        raise CheckpointError(
            "not the weights of a TranslatorPair: expected forth.first.weight and forth.body.0.inner.weight"
        )
    with torch.device("meta"):
        model = TranslatorPair(first.shape[0], depth)
    assign_weights(model, tensors)
    return model.eval()
