"""The layers of YOLOv5 v6.0 to v7.0 that no other family has, and its heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edgevision.models.layers.blocks import Joint


class BottleneckCsp(nn.Module):
    """Cross-stage partial bottleneck (arXiv 1911.11929) whose halves are normalised after concatenation."""

    def __init__(
        self,
        cv1: nn.Module,
        cv2: nn.Module,
        cv3: nn.Module,
        cv4: nn.Module,
        bn: nn.Module,
        act: nn.Module,
        m: nn.Module,
    ) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.cv3 = cv3
        self.cv4 = cv4
        self.bn = bn
        self.act = act
        self.m = m

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        joined = torch.cat((self.cv3(self.m(self.cv1(x))), self.cv2(x)), 1)
        out: torch.Tensor = self.cv4(self.act(self.bn(joined)))
        return out


class MixConv(nn.Module):
    """Grouped convolutions of several kernel sizes side by side (arXiv 1907.09595)."""

    def __init__(self, m: nn.ModuleList, bn: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.m = m
        self.bn = bn
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        out: torch.Tensor = self.act(self.bn(torch.cat([conv(x) for conv in self.m], 1)))
        return out


class Contract(nn.Module):
    """Blocks of `gain` x `gain` pixels as channels, the block's position outermost."""

    def __init__(self, gain: int) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B,C,h,w]`` to ``[B,C*gain*gain,h/gain,w/gain]``."""
        batch, channels, height, width = x.shape
        g = self.gain
        x = x.reshape(batch, channels, height // g, g, width // g, g)
        return x.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * g * g, height // g, width // g)


class Expand(nn.Module):
    """The inverse of `Contract`."""

    def __init__(self, gain: int) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B,C,h,w]`` to ``[B,C/(gain*gain),h*gain,w*gain]``."""
        batch, channels, height, width = x.shape
        g = self.gain
        x = x.reshape(batch, g, g, channels // (g * g), height, width)
        return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // (g * g), height * g, width * g)


class Sum(Joint):
    """Sum of several maps; each after the first is multiplied by a learned weight in 0..2 if there are weights."""

    def __init__(self, weight_count: int = 0) -> None:
        super().__init__()
        if weight_count:
            self.w = nn.Parameter(torch.zeros(weight_count))

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """A list of maps to one."""
        out = maps[0]
        for index, x in enumerate(maps[1:]):
            out = out + (x * (2 * self.w.sigmoid()[index]) if "w" in self._parameters else x)
        return out


class Detect(Joint):
    """The head: one 1 x 1 convolution for each scale, without decoding.

    `anchors` ``[scales, anchors, 2]`` are widths and heights in units of each scale's stride, as in checkpoints.
    """

    anchors: torch.Tensor
    mask_count = 0

    def __init__(self, m: nn.ModuleList, anchors: torch.Tensor) -> None:
        super().__init__()
        self.m = m
        self.register_buffer("anchors", anchors)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """One map for each scale to one of logits ``[B, anchors*(5+classes), h, w]`` each."""
        return [conv(x) for conv, x in zip(self.m, maps, strict=True)]


class Segment(Detect):
    """The head of the segmentation models: each anchor has `mask_count` additional coefficients.

    A mask's logits are the sum of the prototypes, each times its coefficient.
    """

    def __init__(self, m: nn.ModuleList, anchors: torch.Tensor, proto: nn.Module, mask_count: int) -> None:
        super().__init__(m, anchors)
        self.proto = proto
        self.mask_count = mask_count

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Maps of logits ``[B, anchors*(5+classes+masks), h, w]``, and the prototypes behind them."""
        return [*super().forward(maps), self.proto(maps[0])]


class TransformerLayer(nn.Module):
    """Self-attention and two linear layers, each with a shortcut; ``[N,B,C]`` in and out."""

    def __init__(
        self,
        q: nn.Module,
        k: nn.Module,
        v: nn.Module,
        ma: nn.MultiheadAttention,
        fc1: nn.Module,
        fc2: nn.Module,
    ) -> None:
        super().__init__()
        self.q = q
        self.k = k
        self.v = v
        self.ma = ma
        self.fc1 = fc1
        self.fc2 = fc2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens to tokens."""
        attended: torch.Tensor = self.ma(self.q(x), self.k(x), self.v(x), need_weights=False)[0]
        x = attended + x
        return x + torch.as_tensor(self.fc2(self.fc1(x)))


class TransformerBlock(nn.Module):
    """Transformer layers over the pixels of a map, with a learned linear map of them added as position."""

    def __init__(self, linear: nn.Module, tr: nn.Module, conv: nn.Module | None) -> None:
        super().__init__()
        if conv is not None:
            self.conv = conv
        self.linear = linear
        self.tr = tr

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        if "conv" in self._modules:
            x = self.conv(x)
        batch, _, height, width = x.shape
        tokens = x.flatten(2).permute(2, 0, 1)
        tokens = self.tr(tokens + self.linear(tokens))
        out: torch.Tensor = tokens.permute(1, 2, 0).reshape(batch, -1, height, width)
        return out
