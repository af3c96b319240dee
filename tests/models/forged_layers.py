"""Layers of YOLOv5's modules, written from their description, each with its own forward.

They are pickled as ``models.common``, ``models.experimental`` and ``models.yolo``, as its training pickles its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

Row = tuple[Any, ...]
"""(from, class, arguments): one layer."""


class Conv(nn.Module):
    def __init__(
        self, c1: int, c2: int, k: Any = 1, s: Any = 1, p: Any = None, g: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        k = (k, k) if isinstance(k, int) else k
        self.conv = nn.Conv2d(
            c1, c2, k, s, p if p is not None else (k[0] // 2, k[1] // 2), groups=g, bias=False
        )
        self.bn = nn.BatchNorm2d(c2, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU() if act else nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.act(self.bn(self.conv(x)))

    def forward_fuse(self, x: Any) -> Any:
        return self.act(self.conv(x))


class DWConv(Conv):
    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1) -> None:
        super().__init__(c1, c2, k, s, g=math.gcd(c1, c2))


class DWConvTranspose2d(nn.ConvTranspose2d):
    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, p1: int = 0, p2: int = 0) -> None:
        super().__init__(c1, c2, k, s, p1, p2, groups=math.gcd(c1, c2))


class Bottleneck(nn.Module):
    def __init__(self, c1: int, c2: int, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        self.cv1 = Conv(c1, int(c2 * e))
        self.cv2 = Conv(int(c2 * e), c2, 3, 1, g=g)
        self.add = shortcut and c1 == c2

    def forward(self, x: Any) -> Any:
        return x + self.cv2(self.cv1(x)) if self.add else self.cv2(self.cv1(x))


class CrossConv(nn.Module):
    def __init__(
        self, c1: int, c2: int, k: int = 3, s: int = 1, g: int = 1, e: float = 1.0, shortcut: bool = False
    ) -> None:
        super().__init__()
        self.cv1 = Conv(c1, int(c2 * e), (1, k), (1, s))
        self.cv2 = Conv(int(c2 * e), c2, (k, 1), (s, 1), g=g)
        self.add = shortcut and c1 == c2

    def forward(self, x: Any) -> Any:
        return x + self.cv2(self.cv1(x)) if self.add else self.cv2(self.cv1(x))


class BottleneckCSP(nn.Module):
    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True) -> None:
        super().__init__()
        c_ = c2 // 2
        self.cv1 = Conv(c1, c_)
        self.cv2 = nn.Conv2d(c1, c_, 1, bias=False)
        self.cv3 = nn.Conv2d(c_, c_, 1, bias=False)
        self.cv4 = Conv(c2, c2)
        self.bn = nn.BatchNorm2d(c2)
        self.act = nn.LeakyReLU(0.1)
        self.m = nn.Sequential(*(Bottleneck(c_, c_, shortcut, e=1.0) for _ in range(n)))

    def forward(self, x: Any) -> Any:
        left, right = self.cv3(self.m(self.cv1(x))), self.cv2(x)
        return self.cv4(self.act(self.bn(torch.cat([left, right], 1))))


class C3(nn.Module):
    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2 // 2)
        self.cv2 = Conv(c1, c2 // 2)
        self.cv3 = Conv(c2, c2)
        self.m = self.inner(c2 // 2, n, shortcut)

    def inner(self, c: int, n: int, shortcut: bool) -> nn.Module:
        return nn.Sequential(*(Bottleneck(c, c, shortcut, e=1.0) for _ in range(n)))

    def forward(self, x: Any) -> Any:
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], 1))


class C3x(C3):
    def inner(self, c: int, n: int, shortcut: bool) -> nn.Module:
        return nn.Sequential(*(CrossConv(c, c, 3, 1, 1, 1.0, shortcut) for _ in range(n)))


class C3TR(C3):
    def inner(self, c: int, n: int, shortcut: bool) -> nn.Module:
        return TransformerBlock(c, c, 4, n)


class C3SPP(C3):
    def inner(self, c: int, n: int, shortcut: bool) -> nn.Module:
        return SPP(c, c, (3, 5))


class C3Ghost(C3):
    def inner(self, c: int, n: int, shortcut: bool) -> nn.Module:
        return nn.Sequential(*(GhostBottleneck(c, c) for _ in range(n)))


class TransformerLayer(nn.Module):
    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        self.q = nn.Linear(c, c, bias=False)
        self.k = nn.Linear(c, c, bias=False)
        self.v = nn.Linear(c, c, bias=False)
        self.ma = nn.MultiheadAttention(embed_dim=c, num_heads=heads)
        self.fc1 = nn.Linear(c, c, bias=False)
        self.fc2 = nn.Linear(c, c, bias=False)

    def forward(self, x: Any) -> Any:
        x = self.ma(self.q(x), self.k(x), self.v(x))[0] + x
        return self.fc2(self.fc1(x)) + x


class TransformerBlock(nn.Module):
    def __init__(self, c1: int, c2: int, heads: int, layers: int) -> None:
        super().__init__()
        self.conv = Conv(c1, c2) if c1 != c2 else None
        self.linear = nn.Linear(c2, c2)
        self.tr = nn.Sequential(*(TransformerLayer(c2, heads) for _ in range(layers)))
        self.c2 = c2

    def forward(self, x: Any) -> Any:
        x = x if self.conv is None else self.conv(x)
        b, c, h, w = x.shape
        pixels = torch.stack([x[:, :, i, j] for i in range(h) for j in range(w)])
        pixels = self.tr(pixels + self.linear(pixels))
        return torch.stack([pixels[i * w + j] for i in range(h) for j in range(w)], -1).view(b, c, h, w)


class SPP(nn.Module):
    def __init__(self, c1: int, c2: int, k: Sequence[int] = (5, 9, 13)) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c1 // 2)
        self.cv2 = Conv(c1 // 2 * (len(k) + 1), c2)
        self.m = nn.ModuleList([nn.MaxPool2d(x, 1, x // 2) for x in k])

    def forward(self, x: Any) -> Any:
        x = self.cv1(x)
        return self.cv2(torch.cat([x] + [m(x) for m in self.m], 1))


class SPPF(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 5) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c1 // 2)
        self.cv2 = Conv(c1 // 2 * 4, c2)
        self.m = nn.MaxPool2d(k, 1, k // 2)

    def forward(self, x: Any) -> Any:
        pools = [self.cv1(x)]
        for _ in range(3):
            pools.append(self.m(pools[-1]))
        return self.cv2(torch.cat(pools, 1))


class Focus(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 1) -> None:
        super().__init__()
        self.conv = Conv(c1 * 4, c2, k)

    def forward(self, x: Any) -> Any:
        parts = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(parts, 1))


class GhostConv(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, act: bool = True) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2 // 2, k, s, act=act)
        self.cv2 = Conv(c2 // 2, c2 // 2, 5, 1, g=c2 // 2, act=act)

    def forward(self, x: Any) -> Any:
        y = self.cv1(x)
        return torch.cat([y, self.cv2(y)], 1)


class GhostBottleneck(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 3, s: int = 1) -> None:
        super().__init__()
        c_ = c2 // 2
        middle = Conv(c_, c_, k, s, g=c_, act=False) if s == 2 else nn.Identity()
        self.conv = nn.Sequential(GhostConv(c1, c_), middle, GhostConv(c_, c2, act=False))
        aside = (Conv(c1, c1, k, s, g=c1, act=False), Conv(c1, c2, 1, 1, act=False))
        self.shortcut = nn.Sequential(*aside) if s == 2 else nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.conv(x) + self.shortcut(x)


class MixConv2d(nn.Module):
    def __init__(self, c1: int, c2: int, k: Sequence[int] = (1, 3), s: int = 1) -> None:
        super().__init__()
        c_ = c2 // len(k)
        self.m = nn.ModuleList(
            [nn.Conv2d(c1, c_, x, s, x // 2, groups=math.gcd(c1, c_), bias=False) for x in k]
        )
        self.bn = nn.BatchNorm2d(c2)
        self.act = nn.SiLU()

    def forward(self, x: Any) -> Any:
        return self.act(self.bn(torch.cat([m(x) for m in self.m], 1)))


class Concat(nn.Module):
    def __init__(self, d: int = 1) -> None:
        super().__init__()
        self.d = d

    def forward(self, x: Any) -> Any:
        return torch.cat(x, self.d)


class Sum(nn.Module):
    def __init__(self, n: int, weight: bool = False) -> None:
        super().__init__()
        self.weight = weight
        self.iter = range(n - 1)
        if weight:
            self.w = nn.Parameter(-torch.arange(1.0, n) / 2)

    def forward(self, x: Any) -> Any:
        factors = torch.sigmoid(self.w) * 2 if self.weight else torch.ones(len(x) - 1)
        return x[0] + sum(factors[i] * x[i + 1] for i in self.iter)


class Contract(nn.Module):
    def __init__(self, gain: int = 2) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Any) -> Any:
        g = self.gain
        return torch.cat([x[:, :, row::g, column::g] for row in range(g) for column in range(g)], 1)


class Expand(nn.Module):
    def __init__(self, gain: int = 2) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Any) -> Any:
        b, c, h, w = x.shape
        g = self.gain
        y = x.new_empty(b, c // g**2, h * g, w * g)
        for number, part in enumerate(x.chunk(g * g, 1)):
            y[:, :, number // g :: g, number % g :: g] = part
        return y


class Detect(nn.Module):
    def __init__(self, nc: int, anchors: Sequence[Sequence[float]], ch: Sequence[int]) -> None:
        super().__init__()
        self.nc = nc
        self.nl = len(anchors)
        self.na = len(anchors[0]) // 2
        self.grid = [torch.zeros(1)] * self.nl
        self.register_buffer("anchors", torch.tensor(anchors).float().view(self.nl, -1, 2))
        self.m = nn.ModuleList(nn.Conv2d(x, self.na * (5 + nc), 1) for x in ch)
        self.inplace = True

    def forward(self, x: Any) -> Any:
        return [m(y) for m, y in zip(self.m, x, strict=True)]


class Proto(nn.Module):
    def __init__(self, c1: int, c_: int, c2: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c_, 3)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.cv2 = Conv(c_, c_, 3)
        self.cv3 = Conv(c_, c2)

    def forward(self, x: Any) -> Any:
        return self.cv3(self.cv2(self.upsample(self.cv1(x))))


class Segment(Detect):
    def __init__(
        self, nc: int, anchors: Sequence[Sequence[float]], nm: int, npr: int, ch: Sequence[int]
    ) -> None:
        super().__init__(nc + nm, anchors, ch)
        self.nc, self.nm, self.npr = nc, nm, npr
        self.proto = Proto(ch[0], npr, nm)

    def forward(self, x: Any) -> Any:
        return [*super().forward(x), self.proto(x[0])]


class Classify(Detect):
    pass


class AutoShape(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


class DetectMultiBackend(AutoShape):
    pass


class Mystery(nn.Module):
    def forward(self, x: Any) -> Any:
        return x


class Model(nn.Module):
    def __init__(self, rows: Sequence[Row], names: Any, strides: Sequence[float]) -> None:
        super().__init__()
        layers = []
        for index, (source, cls, *arguments) in enumerate(rows):
            layer = cls(*arguments)
            layer.i, layer.f, layer.type = index, source, f"models.common.{cls.__name__}"
            layers.append(layer)
        self.model = nn.Sequential(*layers)
        self.names = names
        self.stride = torch.tensor(strides)
        self.yaml = {"nc": 1, "backbone": [[-1, 1, "Conv", [64, 6, 2, 2]]]}
        anchors = getattr(layers[-1], "anchors", None)
        if isinstance(anchors, torch.Tensor):
            anchors /= self.stride.view(-1, 1, 1)

    def forward(self, x: Any) -> Any:
        outputs: list[Any] = []
        for layer in self.model:
            source: Any = layer.f
            if source == -1:
                taken: Any = x
            elif isinstance(source, int):
                taken = outputs[source]
            else:
                taken = [x if j == -1 else outputs[j] for j in source]
            x = layer(taken)
            outputs.append(x)
        return x

    def fuse(self) -> Model:
        for module in self.modules():
            if isinstance(module, Conv) and "bn" in module._modules:
                fused = nn.utils.fusion.fuse_conv_bn_eval(module.conv.eval(), module.bn.eval())
                module.conv = fused
                del module.bn
                module.forward = module.forward_fuse  # type: ignore[method-assign]  # as YOLOv5 does
        return self


class DetectionModel(Model):
    pass


class SegmentationModel(DetectionModel):
    pass


YOLO = (Classify, Detect, DetectionModel, Model, Segment, SegmentationModel)
EXPERIMENTAL = (CrossConv, MixConv2d, Sum)
COMMON = tuple(
    cls
    for cls in list(globals().values())
    if isinstance(cls, type) and issubclass(cls, nn.Module) and cls not in (*YOLO, *EXPERIMENTAL)
)
