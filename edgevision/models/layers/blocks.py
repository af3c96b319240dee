"""Layers that several families of YOLO share, composed of parts, with the parameter names of their checkpoints.

Layers take their finished parts instead of hyper-parameters. One class therefore serves both a described architecture
and one that is read from a file layer by layer. Maps are float ``[B,C,h,w]`` unless stated otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Joint(nn.Module):
    """Base class of layers that take a list of maps."""


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, activation: ``Conv`` and ``DWConv``; no `bn` where it is folded in."""

    def __init__(self, conv: nn.Conv2d, bn: nn.BatchNorm2d | None, act: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        if bn is not None:
            self.bn = bn
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        x = self.conv(x)
        if "bn" in self._modules:
            x = self.bn(x)
        out: torch.Tensor = self.act(x)
        return out

    def fuse(self) -> None:
        """Fold the normalisation into the convolution's weights, computed in float64."""
        if "bn" in self._modules:
            dtype = self.conv.weight.dtype
            self.conv = fuse_conv_bn_eval(self.conv.eval().double(), self.bn.eval().double()).to(dtype)
            del self.bn


class Bottleneck(nn.Module):
    """Two convolutions, with a shortcut if `add`.

    Also implements ``CrossConv``, whose kernels are 1 x k and k x 1.
    """

    def __init__(self, cv1: nn.Module, cv2: nn.Module, *, add: bool) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.add = add

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        y: torch.Tensor = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3(nn.Module):
    """Cross-stage partial bottleneck of three convolutions; C3x, C3TR, C3SPP and C3Ghost differ in `m`."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module, cv3: nn.Module, m: nn.Module) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.cv3 = cv3
        self.m = m

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        out: torch.Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))
        return out


class Spp(nn.Module):
    """Spatial pyramid pooling (arXiv 1406.4729): max-pools of several sizes side by side."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module, m: nn.ModuleList) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.m = m

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        x = self.cv1(x)
        out: torch.Tensor = self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))
        return out


class Sppf(nn.Module):
    """Equivalent of `Spp` with `count` runs of one max-pool: three are pools of k, 2k-1 and 3k-2.

    With `add`, the input is added to the output.
    """

    def __init__(
        self, cv1: nn.Module, cv2: nn.Module, m: nn.Module, count: int = 3, *, add: bool = False
    ) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.m = m
        self.count = count
        self.add = add

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        pools = [self.cv1(x)]
        for _ in range(self.count):
            pools.append(self.m(pools[-1]))
        out: torch.Tensor = self.cv2(torch.cat(pools, 1))
        return out + x if self.add else out


class Focus(nn.Module):
    """Each block of 2 x 2 pixels as channels, ``[B,C,h,w]`` to ``[B,4C,h/2,w/2]``, then a convolution."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map of half the size."""
        corners = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        out: torch.Tensor = self.conv(torch.cat(corners, 1))
        return out


class GhostConv(nn.Module):
    """Half of the channels from a convolution, the other half cheaply from the first (arXiv 1911.11907)."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        y = self.cv1(x)
        return torch.cat((y, self.cv2(y)), 1)


class GhostBottleneck(nn.Module):
    """Ghost convolutions beside a shortcut (arXiv 1911.11907)."""

    def __init__(self, conv: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        out: torch.Tensor = self.conv(x) + self.shortcut(x)
        return out


class Concat(Joint):
    """Several maps joined along an axis."""

    def __init__(self, d: int = 1) -> None:
        super().__init__()
        self.d = d

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """A list of maps to one."""
        return torch.cat(list(maps), self.d)


class Proto(nn.Module):
    """Prototypes for masks, of twice the map's size (YOLACT, arXiv 1904.02689, section 3.1)."""

    def __init__(self, cv1: nn.Module, upsample: nn.Module, cv2: nn.Module, cv3: nn.Module) -> None:
        super().__init__()
        self.cv1 = cv1
        self.upsample = upsample
        self.cv2 = cv2
        self.cv3 = cv3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B,C,h,w]`` to ``[B,masks,2h,2w]``."""
        out: torch.Tensor = self.cv3(self.cv2(self.upsample(self.cv1(x))))
        return out


def fold_norms(model: nn.Module) -> None:
    """Fold each normalisation into its convolution, in place; outputs change only by rounding.

    Sets eval mode; the model can no longer be trained.
    """
    model.eval()
    for module in model.modules():
        if isinstance(module, ConvBlock):
            module.fuse()
