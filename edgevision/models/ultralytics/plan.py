"""YOLOv8 with random weights, at any depth and width: the smallest model of the package's form.

The layout is described at https://docs.ultralytics.com/models/yolov8: a backbone of C2f blocks, then top-down and
bottom-up paths (arXiv 1612.03144, 1803.01534), and a head for three scales.
"""

from __future__ import annotations

import math

from torch import nn

from edgevision.models.layers.blocks import Bottleneck, Concat, ConvBlock, Sppf
from edgevision.models.ultralytics.blocks import Chain
from edgevision.models.ultralytics.heads import TowerHead
from edgevision.models.ultralytics.model import ModelFacts, UltralyticsModel

BINS = 16
STRIDES = (8, 16, 32)
_DEPTH, _WIDTH = 1 / 3, 0.25
"""Multiples of size n."""


def yolov8n(class_count: int) -> UltralyticsModel:
    """YOLOv8n with random weights, in eval mode."""
    layers: list[nn.Module] = [_conv(3, _wide(64), 3, 2)]
    sources: list[tuple[int, ...]] = [(-1,)]

    def add(layer: nn.Module, *others: int) -> int:
        layers.append(layer)
        sources.append((len(layers) - 2, *others))
        return len(layers) - 1

    c3, c4, c5 = _wide(256), _wide(512), _wide(1024)
    ends = []
    for before, channels, repeats in ((64, 128, 3), (128, 256, 6), (256, 512, 6), (512, 1024, 3)):
        add(_conv(_wide(before), _wide(channels), 3, 2))
        ends.append(add(_c2f(_wide(channels), _wide(channels), repeats, add=True)))
    deep = add(Sppf(_conv(c5, c5 // 2), _conv(2 * c5, c5), nn.MaxPool2d(5, 1, 2)))
    add(nn.Upsample(scale_factor=2.0))
    add(Concat(), ends[2])
    middle = add(_c2f(c4 + c5, c4, 3, add=False))
    add(nn.Upsample(scale_factor=2.0))
    add(Concat(), ends[1])
    outputs = [add(_c2f(c3 + c4, c3, 3, add=False))]
    for channels, below, side in ((c3, c4, middle), (c4, c5, deep)):
        add(_conv(channels, channels, 3, 2))
        add(Concat(), side)
        outputs.append(add(_c2f(channels + below, below, 3, add=False)))
    layers.append(_head((c3, c4, c5), class_count))
    names = tuple(map(str, range(class_count)))
    facts = ModelFacts("detect", f"YOLOv8n, {class_count} classes", names, STRIDES)
    return UltralyticsModel(layers, (*sources, tuple(outputs)), facts).eval()


def _wide(channels: int) -> int:
    return math.ceil(channels * _WIDTH / 8) * 8


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> ConvBlock:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return ConvBlock(conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03), nn.SiLU())


def _c2f(inputs: int, outputs: int, repeats: int, *, add: bool) -> Chain:
    half, count = outputs // 2, max(round(repeats * _DEPTH), 1)
    links = (Bottleneck(_conv(half, half, 3), _conv(half, half, 3), add=add) for _ in range(count))
    return Chain(_conv(inputs, 2 * half), _conv((2 + count) * half, outputs), nn.ModuleList(links))


def _head(channels: tuple[int, ...], class_count: int) -> TowerHead:
    box = max(16, channels[0] // 4, 4 * BINS)
    classes = max(channels[0], min(class_count, 100))
    return TowerHead(
        {
            name: nn.ModuleList(
                nn.Sequential(_conv(c, hidden, 3), _conv(hidden, hidden, 3), nn.Conv2d(hidden, outputs, 1))
                for c in channels
            )
            for name, hidden, outputs in (("cv2", box, 4 * BINS), ("cv3", classes, class_count))
        },
        BINS,
    )
