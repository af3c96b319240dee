"""Builders of the layers that several families of YOLO share."""

from __future__ import annotations

from torch import nn

from edgevision.models.layers.blocks import (
    C3,
    Bottleneck,
    Concat,
    ConvBlock,
    Focus,
    GhostBottleneck,
    GhostConv,
    Proto,
    Spp,
    Sppf,
)
from edgevision.models.layers.part import Builder, Part
from edgevision.models.layers.torch_kinds import TORCH_KINDS, conv_transpose2d


def _conv_block(part: Part) -> nn.Module:
    bn = part.take_as("bn", nn.BatchNorm2d) if "bn" in part.children else None
    return ConvBlock(part.take_as("conv", nn.Conv2d), bn, part.take("act"))


def _bottleneck(part: Part) -> nn.Module:
    return Bottleneck(part.take("cv1"), part.take("cv2"), add=part.flag("add"))


def _c3(part: Part) -> nn.Module:
    return C3(part.take("cv1"), part.take("cv2"), part.take("cv3"), part.take("m"))


def _proto(part: Part) -> nn.Module:
    return Proto(part.take("cv1"), part.take("upsample"), part.take("cv2"), part.take("cv3"))


def _sppf(part: Part) -> nn.Module:
    count = 3 if part.value("n") is None else part.integer("n")
    return Sppf(part.take("cv1"), part.take("cv2"), part.take("m"), count, add=part.flag("add"))


SHARED_KINDS: dict[str, Builder] = {
    **TORCH_KINDS,
    **dict.fromkeys(("Conv", "DWConv"), _conv_block),
    **dict.fromkeys(("Bottleneck", "CrossConv"), _bottleneck),
    **dict.fromkeys(("C3", "C3x", "C3TR", "C3SPP", "C3Ghost"), _c3),
    "Concat": lambda part: Concat(part.integer("d")),
    "DWConvTranspose2d": conv_transpose2d,
    "Focus": lambda part: Focus(part.take("conv")),
    "GhostBottleneck": lambda part: GhostBottleneck(part.take("conv"), part.take("shortcut")),
    "GhostConv": lambda part: GhostConv(part.take("cv1"), part.take("cv2")),
    "Proto": _proto,
    "SPP": lambda part: Spp(part.take("cv1"), part.take("cv2"), part.take_as("m", nn.ModuleList)),
    "SPPF": _sppf,
}
"""Builders by layer, PyTorch's included."""
