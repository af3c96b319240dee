"""Layers of the Ultralytics package, written from their description, each with its own forward.

They are pickled as ``ultralytics.nn.modules.block`` and its neighbours, as that package's training pickles its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tests.models import forged_layers
from tests.models.forged_layers import C3, Bottleneck, Conv


def _attend(q: Any, k: Any, v: Any) -> Any:
    """Attention pixel by pixel: q, k ``[heads,dims,n]``, v ``[heads,values,n]``."""
    out = torch.zeros_like(v)
    for head in range(len(q)):
        for pixel in range(q.shape[2]):
            scores = torch.stack([q[head, :, pixel] @ k[head, :, other] for other in range(k.shape[2])])
            weights = torch.softmax(scores / math.sqrt(q.shape[1]), 0)
            out[head, :, pixel] = (v[head] * weights).sum(1)
    return out


class C2f(nn.Module):
    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False) -> None:
        super().__init__()
        self.c = c2 // 2
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv((2 + n) * self.c, c2)
        self.m = nn.ModuleList([self.link(self.c, shortcut) for _ in range(n)])

    def link(self, c: int, shortcut: bool) -> nn.Module:
        return Bottleneck(c, c, shortcut, e=1.0)

    def forward(self, x: Any) -> Any:
        both = self.cv1(x)
        parts = [both[:, : self.c], both[:, self.c :]]
        for link in self.m:
            parts += [link(parts[-1])]
        return self.cv2(torch.cat(parts, 1))


class C3k(C3):
    pass


class C3k2(C2f):
    def link(self, c: int, shortcut: bool) -> nn.Module:
        return C3k(c, c, 2, shortcut)


class C2(nn.Module):
    def __init__(self, c1: int, c2: int, n: int = 1) -> None:
        super().__init__()
        self.c = c2 // 2
        self.cv1 = Conv(c1, c2)
        self.cv2 = Conv(c2, c2)
        self.m = nn.Sequential(*(Bottleneck(self.c, self.c) for _ in range(n)))

    def forward(self, x: Any) -> Any:
        both = self.cv1(x)
        return self.cv2(torch.cat([self.m(both[:, : self.c]), both[:, self.c :]], 1))


class Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.key_dim = self.head_dim // 2
        self.scale = self.key_dim**-0.5
        self.qkv = Conv(dim, dim + 2 * self.key_dim * num_heads, act=False)
        self.proj = Conv(dim, dim, act=False)
        self.pe = Conv(dim, dim, 3, g=dim, act=False)

    def forward(self, x: Any) -> Any:
        out = []
        for qkv, image in zip(self.qkv(x).flatten(2), x, strict=True):
            heads = qkv.view(self.num_heads, -1, qkv.shape[1])
            q, k, v = (
                heads[:, : self.key_dim],
                heads[:, self.key_dim : 2 * self.key_dim],
                heads[:, 2 * self.key_dim :],
            )
            shape = (1, *image.shape)
            out.append(_attend(q, k, v).reshape(shape) + self.pe(v.reshape(shape)))
        return self.proj(torch.cat(out))


class PSABlock(nn.Module):
    def __init__(self, c: int, num_heads: int = 2, shortcut: bool = True) -> None:
        super().__init__()
        self.attn = Attention(c, num_heads)
        self.ffn = nn.Sequential(Conv(c, c * 2), Conv(c * 2, c, act=False))
        self.add = shortcut

    def forward(self, x: Any) -> Any:
        x = self.attn(x) + (x if self.add else 0)
        return self.ffn(x) + (x if self.add else 0)


class C2PSA(nn.Module):
    def __init__(self, c1: int, n: int = 1) -> None:
        super().__init__()
        self.c = c1 // 2
        self.cv1 = Conv(c1, c1)
        self.cv2 = Conv(c1, c1)
        self.m = nn.Sequential(*(PSABlock(self.c) for _ in range(n)))

    def forward(self, x: Any) -> Any:
        both = self.cv1(x)
        return self.cv2(torch.cat([both[:, : self.c], self.m(both[:, self.c :])], 1))


class C2fPSA(C2f):
    def link(self, c: int, shortcut: bool) -> nn.Module:
        return PSABlock(c, shortcut=shortcut)


class PSA(nn.Module):
    def __init__(self, c1: int) -> None:
        super().__init__()
        self.c = c1 // 2
        self.cv1 = Conv(c1, c1)
        self.cv2 = Conv(c1, c1)
        self.attn = Attention(self.c, 2)
        self.ffn = nn.Sequential(Conv(self.c, self.c * 2), Conv(self.c * 2, self.c, act=False))

    def forward(self, x: Any) -> Any:
        both = self.cv1(x)
        a, b = both[:, : self.c], both[:, self.c :]
        b = b + self.attn(b)
        return self.cv2(torch.cat([a, b + self.ffn(b)], 1))


class AAttn(nn.Module):
    def __init__(self, dim: int, num_heads: int, area: int) -> None:
        super().__init__()
        self.area, self.num_heads, self.head_dim = area, num_heads, dim // num_heads
        self.qkv = Conv(dim, 3 * dim, act=False)
        self.proj = Conv(dim, dim, act=False)
        self.pe = Conv(dim, dim, 7, g=dim, act=False)

    def forward(self, x: Any) -> Any:
        d, out = self.head_dim, []
        for qkv, image in zip(self.qkv(x).flatten(2), x, strict=True):
            heads = qkv.view(self.num_heads, 3 * d, -1)
            bands = [_attend(b[:, :d], b[:, d : 2 * d], b[:, 2 * d :]) for b in heads.chunk(self.area, 2)]
            shape = (1, *image.shape)
            out.append(torch.cat(bands, 2).reshape(shape) + self.pe(heads[:, 2 * d :].reshape(shape)))
        return self.proj(torch.cat(out))


class ABlock(nn.Module):
    def __init__(self, dim: int, num_heads: int, area: int) -> None:
        super().__init__()
        self.attn = AAttn(dim, num_heads, area)
        self.mlp = nn.Sequential(Conv(dim, dim * 2), Conv(dim * 2, dim, act=False))

    def forward(self, x: Any) -> Any:
        x = x + self.attn(x)
        return x + self.mlp(x)


class A2C2f(nn.Module):
    def __init__(self, c1: int, c2: int, n: int = 1, area: int = 1, residual: bool = False) -> None:
        super().__init__()
        c = c2 // 2
        self.cv1 = Conv(c1, c)
        self.cv2 = Conv((1 + n) * c, c2)
        self.gamma = nn.Parameter(torch.arange(c2) / c2) if residual else None
        self.m = nn.ModuleList([nn.Sequential(*(ABlock(c, 2, area) for _ in range(2))) for _ in range(n)])

    def forward(self, x: Any) -> Any:
        parts = [self.cv1(x)]
        for link in self.m:
            parts += [link(parts[-1])]
        y = self.cv2(torch.cat(parts, 1))
        return y if self.gamma is None else x + self.gamma[:, None, None] * y


class RepConv(nn.Module):
    def __init__(self, c1: int, c2: int, identity: bool = False) -> None:
        super().__init__()
        self.conv1 = Conv(c1, c2, 3, act=False)
        self.conv2 = Conv(c1, c2, 1, act=False)
        self.bn = nn.BatchNorm2d(c1) if identity else None
        self.act = nn.SiLU()

    def forward(self, x: Any) -> Any:
        return self.act(self.conv1(x) + self.conv2(x) + (0 if self.bn is None else self.bn(x)))


class RepBottleneck(Bottleneck):
    def __init__(self, c1: int, c2: int) -> None:
        super().__init__(c1, c2, e=1.0)
        self.cv1 = RepConv(c1, c2)  # type: ignore[assignment]  # as the package replaces it


class RepCSP(C3):
    def inner(self, c: int, n: int, shortcut: bool) -> nn.Module:
        return nn.Sequential(*(RepBottleneck(c, c) for _ in range(n)))


class RepNCSPELAN4(nn.Module):
    def __init__(self, c1: int, c2: int, c3: int, c4: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c3)
        self.cv2 = nn.Sequential(RepCSP(c3 // 2, c4), Conv(c4, c4, 3))
        self.cv3 = nn.Sequential(RepCSP(c4, c4), Conv(c4, c4, 3))
        self.cv4 = Conv(c3 + 2 * c4, c2)

    def forward(self, x: Any) -> Any:
        y = self.cv1(x)
        half = y.shape[1] // 2
        third = self.cv2(y[:, half:])
        return self.cv4(torch.cat([y, third, self.cv3(third)], 1))


class ELAN1(RepNCSPELAN4):
    def __init__(self, c1: int, c2: int, c3: int, c4: int) -> None:
        super().__init__(c1, c2, c3, c4)
        self.cv2 = Conv(c3 // 2, c4, 3)  # type: ignore[assignment]  # as the package replaces it
        self.cv3 = Conv(c4, c4, 3)  # type: ignore[assignment]


class SPPELAN(nn.Module):
    def __init__(self, c1: int, c2: int, c3: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c3)
        self.cv2, self.cv3, self.cv4 = (nn.MaxPool2d(5, 1, 2) for _ in range(3))
        self.cv5 = Conv(4 * c3, c2)

    def forward(self, x: Any) -> Any:
        a = self.cv1(x)
        b = self.cv2(a)
        c = self.cv3(b)
        return self.cv5(torch.cat([a, b, c, self.cv4(c)], 1))


def _mean_of_four(x: Any) -> Any:
    return (x[..., :-1, :-1] + x[..., :-1, 1:] + x[..., 1:, :-1] + x[..., 1:, 1:]) / 4


class AConv(nn.Module):
    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2, 3, 2)

    def forward(self, x: Any) -> Any:
        return self.cv1(_mean_of_four(x))


class ADown(nn.Module):
    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1 // 2, c2 // 2, 3, 2)
        self.cv2 = Conv(c1 // 2, c2 // 2)

    def forward(self, x: Any) -> Any:
        x = _mean_of_four(x)
        half = x.shape[1] // 2
        pooled = functional.max_pool2d(x[:, half:], kernel_size=3, stride=2, padding=1)
        return torch.cat([self.cv1(x[:, :half]), self.cv2(pooled)], 1)


class CBLinear(nn.Module):
    def __init__(self, c1: int, c2s: Sequence[int]) -> None:
        super().__init__()
        self.c2s = list(c2s)
        self.conv = nn.Conv2d(c1, sum(c2s), 1)

    def forward(self, x: Any) -> Any:
        return self.conv(x).split(self.c2s, 1)


class CBFuse(nn.Module):
    def __init__(self, idx: Sequence[int]) -> None:
        super().__init__()
        self.idx = list(idx)

    def forward(self, x: Any) -> Any:
        last = x[-1]
        ratio = [last.shape[2] // tensors[0].shape[2] for tensors in x[:-1]]
        chosen = [tensors[i] for i, tensors in zip(self.idx, x, strict=False)]
        grown = [
            y.repeat_interleave(r, 2).repeat_interleave(r, 3) for y, r in zip(chosen, ratio, strict=True)
        ]
        return last + sum(grown)


class SCDown(nn.Module):
    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2)
        self.cv2 = Conv(c2, c2, 3, 2, g=c2, act=False)

    def forward(self, x: Any) -> Any:
        return self.cv2(self.cv1(x))


class RepVGGDW(nn.Module):
    def __init__(self, ed: int) -> None:
        super().__init__()
        self.conv = Conv(ed, ed, 7, g=ed, act=False)
        self.conv1 = Conv(ed, ed, 3, g=ed, act=False)
        self.act = nn.SiLU()

    def forward(self, x: Any) -> Any:
        return self.act(self.conv(x) + self.conv1(x))


class CIB(nn.Module):
    def __init__(self, c: int, shortcut: bool) -> None:
        super().__init__()
        narrow, wide = Conv(c, c, 3, g=c), Conv(c, 2 * c)
        self.cv1 = nn.Sequential(narrow, wide, RepVGGDW(2 * c), Conv(2 * c, c), Conv(c, c, 3, g=c))
        self.add = shortcut

    def forward(self, x: Any) -> Any:
        return self.cv1(x) + (x if self.add else 0)


class C2fCIB(C2f):
    def link(self, c: int, shortcut: bool) -> nn.Module:
        return CIB(c, shortcut)


class ResNetBlock(nn.Module):
    def __init__(self, c1: int, c2: int, s: int = 1) -> None:
        super().__init__()
        self.cv1, self.cv2, self.cv3 = Conv(c1, c2), Conv(c2, c2, 3, s), Conv(c2, 4 * c2, act=False)
        self.shortcut = nn.Sequential(Conv(c1, 4 * c2, 1, s, act=False))

    def forward(self, x: Any) -> Any:
        return (self.cv3(self.cv2(self.cv1(x))) + self.shortcut(x)).clamp(min=0)


class ResNetLayer(nn.Module):
    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(ResNetBlock(c1, c2, 2))

    def forward(self, x: Any) -> Any:
        return self.layer(x)


class SPPF(nn.Module):
    def __init__(self, c1: int, c2: int, n: int = 3, shortcut: bool = False) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c1 // 2, act=False)
        self.cv2 = Conv(c1 // 2 * (n + 1), c2)
        self.m = nn.MaxPool2d(5, 1, 2)
        self.n, self.add = n, shortcut

    def forward(self, x: Any) -> Any:
        pools = [self.cv1(x)]
        for _ in range(self.n):
            pools += [self.m(pools[-1])]
        return self.cv2(torch.cat(pools, 1)) + (x if self.add else 0)


BLOCKS = (
    *(getattr(forged_layers, name) for name in ("C3", "C3Ghost", "Bottleneck", "Concat", "Conv", "DWConv")),
    *(getattr(forged_layers, name) for name in ("GhostBottleneck", "GhostConv")),
    *(
        cls
        for cls in list(globals().values())
        if isinstance(cls, type) and issubclass(cls, nn.Module) and cls.__module__ == __name__
    ),
)
