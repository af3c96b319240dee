"""Convolutional layers of YOLOv8 to YOLO26 and of YOLOv9, composed of parts, with their checkpoints' parameter names.

Maps are float ``[B,C,h,w]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from edgevision.models.layers.blocks import ConvBlock, Joint


class Chain(nn.Module):
    """The stem of C2f: half of `cv1`, the other half, and each run of the chain `m`, joined for `cv2`.

    C3k2, C2fCIB and C2fPSA differ in the links of the chain. This is the gradient path of ELAN (arXiv 2211.04800).
    """

    def __init__(self, cv1: nn.Module, cv2: nn.Module, m: nn.ModuleList) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.m = m

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        parts = list(self.cv1(x).chunk(2, 1))
        for link in self.m:
            parts.append(link(parts[-1]))
        out: torch.Tensor = self.cv2(torch.cat(parts, 1))
        return out


class Halves(nn.Module):
    """C2 and C2PSA: one half of `cv1` passes through `m`, the other does not; `cv2` joins them."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module, m: nn.Module, *, first: bool) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.m = m
        self.first = first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map; with `first` the first half passes through `m`, else the second."""
        a, b = self.cv1(x).chunk(2, 1)
        joined = (self.m(a), b) if self.first else (a, self.m(b))
        out: torch.Tensor = self.cv2(torch.cat(joined, 1))
        return out


class Shortcut(nn.Module):
    """CIB of YOLOv10 (arXiv 2405.14458, section 3.2): one branch `cv1`, with a shortcut if `add`."""

    def __init__(self, cv1: nn.Module, *, add: bool) -> None:
        super().__init__()
        self.cv1 = cv1
        self.add = add

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        y: torch.Tensor = self.cv1(x)
        return x + y if self.add else y


class Parallel(nn.Module):
    """The sum of parallel branches, then an activation: RepConv and RepVGGDW (arXiv 2101.03697).

    The names of `branches` are those of the parts in the file.
    """

    def __init__(self, branches: dict[str, nn.Module], act: nn.Module) -> None:
        super().__init__()
        self.branches = tuple(branches)
        for name, branch in branches.items():
            self.add_module(name, branch)
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        first, *others = (self.get_submodule(name)(x) for name in self.branches)
        for other in others:
            first = first + other
        out: torch.Tensor = self.act(first)
        return out

    def merge(self) -> None:
        """Merge convolutions without normalisation and activation into the one with the largest kernel."""
        convs = [_plain_conv(self.get_submodule(name)) for name in self.branches]
        found = [conv for conv in convs if conv is not None]
        if len(found) != len(convs) or len({(conv.stride, conv.groups) for conv in found}) > 1:
            return
        largest = max(found, key=lambda conv: conv.kernel_size)
        with torch.no_grad():
            weight, bias = torch.zeros_like(largest.weight), torch.zeros(largest.out_channels)
            for conv in found:
                rows, columns = (
                    (a - b) // 2 for a, b in zip(largest.kernel_size, conv.kernel_size, strict=True)
                )
                weight += functional.pad(conv.weight, (columns, columns, rows, rows))
                bias += 0 if conv.bias is None else conv.bias
            largest.weight = nn.Parameter(weight)
            largest.bias = nn.Parameter(bias)
        for name in self.branches:
            delattr(self, name)
        self.branches = ("conv",)
        self.conv = largest


def _plain_conv(branch: nn.Module) -> nn.Conv2d | None:
    """The convolution of a branch that does nothing else and keeps its centre; None for another branch."""
    if isinstance(branch, ConvBlock) and not hasattr(branch, "bn") and isinstance(branch.act, nn.Identity):
        branch = branch.conv
    if not isinstance(branch, nn.Conv2d) or branch.dilation != (1, 1):
        return None
    centred = all(
        kernel % 2 == 1 and pad == kernel // 2
        for kernel, pad in zip(branch.kernel_size, branch.padding, strict=True)
    )
    return branch if centred else None


def merge_branches(model: nn.Module) -> None:
    """Merge the parallel convolutions of every layer, in place, after their normalisation was folded."""
    for module in model.modules():
        if isinstance(module, Parallel):
            module.merge()


class Elan(nn.Module):
    """RepNCSPELAN4 and ELAN1 of YOLOv9 (arXiv 2402.13616, figure 4): GELAN of two branches."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module, cv3: nn.Module, cv4: nn.Module) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.cv3 = cv3
        self.cv4 = cv4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        a, b = self.cv1(x).chunk(2, 1)
        c = self.cv2(b)
        out: torch.Tensor = self.cv4(torch.cat((a, b, c, self.cv3(c)), 1))
        return out


class SppElan(nn.Module):
    """SPPELAN of YOLOv9: a 1 x 1 convolution and three max-pools in sequence, joined for `cv5`."""

    def __init__(
        self, cv1: nn.Module, cv2: nn.Module, cv3: nn.Module, cv4: nn.Module, cv5: nn.Module
    ) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.cv3 = cv3
        self.cv4 = cv4
        self.cv5 = cv5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        pools = [self.cv1(x)]
        for pool in (self.cv2, self.cv3, self.cv4):
            pools.append(pool(pools[-1]))
        out: torch.Tensor = self.cv5(torch.cat(pools, 1))
        return out


class AverageDown(nn.Module):
    """AConv of YOLOv9: an average of 2 x 2 pixels at stride 1, then a convolution of stride 2."""

    def __init__(self, cv1: nn.Module) -> None:
        super().__init__()
        self.cv1 = cv1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B,C,h,w]`` to ``[B,D,h/2,w/2]``."""
        out: torch.Tensor = self.cv1(functional.avg_pool2d(x, 2, 1))
        return out


class SplitDown(nn.Module):
    """ADown of YOLOv9: after an average of 2 x 2, one half by a convolution, the other by a max-pool."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B,C,h,w]`` to ``[B,D,h/2,w/2]``."""
        a, b = functional.avg_pool2d(x, 2, 1).chunk(2, 1)
        return torch.cat((self.cv1(a), self.cv2(functional.max_pool2d(b, 3, 2, 1))), 1)


class InSequence(nn.Module):
    """SCDown of YOLOv10: a 1 x 1 convolution for the channels, then a depthwise one for the size."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        out: torch.Tensor = self.cv2(self.cv1(x))
        return out


class MultiLinear(nn.Module):
    """CBLinear of YOLOv9: one convolution whose channels are several maps (CBNet, arXiv 1909.03625)."""

    def __init__(self, conv: nn.Module, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = conv
        self.channels = channels

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A map to as many maps as there are numbers of channels."""
        return torch.split(self.conv(x), list(self.channels), 1)


class Fuse(Joint):
    """CBFuse of YOLOv9: the sum of one map of each `MultiLinear`, at the size of the last input, and that input."""

    def __init__(self, indices: tuple[int, ...]) -> None:
        super().__init__()
        self.indices = indices

    def forward(self, maps: Sequence[tuple[torch.Tensor, ...] | torch.Tensor]) -> torch.Tensor:
        """A list of maps, or of tuples of them, to one map."""
        *others, last = maps
        assert isinstance(last, torch.Tensor)
        size = (int(last.shape[2]), int(last.shape[3]))
        resized = [
            functional.interpolate(other[index], size=size, mode="nearest")
            for index, other in zip(self.indices, others, strict=True)
        ]
        first, *more = (*resized, last)
        for map_ in more:
            first = first + map_
        return first


class Branch(nn.Module):
    """ResNetBlock: three convolutions beside a shortcut, then a ReLU (arXiv 1512.03385)."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module, cv3: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.cv3 = cv3
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        return torch.relu(self.cv3(self.cv2(self.cv1(x))) + self.shortcut(x))


class Stage(nn.Module):
    """ResNetLayer: a sequence of blocks."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        out: torch.Tensor = self.layer(x)
        return out
