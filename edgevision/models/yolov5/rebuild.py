"""Builders of YOLOv5's layers, with sizes and switches from a pickled model's attributes."""

from __future__ import annotations

from torch import nn

from edgevision.errors import CheckpointError
from edgevision.models.layers.block_kinds import SHARED_KINDS
from edgevision.models.layers.blocks import ConvBlock, Proto
from edgevision.models.layers.part import Builder, Part
from edgevision.models.yolov5.layers import (
    BottleneckCsp,
    Contract,
    Detect,
    Expand,
    MixConv,
    Segment,
    Sum,
    TransformerBlock,
    TransformerLayer,
)


def _bottleneck_csp(part: Part) -> nn.Module:
    names = ("cv1", "cv2", "cv3", "cv4", "bn", "act", "m")
    return BottleneckCsp(*(part.take(name) for name in names))


def _transformer_layer(part: Part) -> nn.Module:
    q, k, v = part.take("q"), part.take("k"), part.take("v")
    attention = part.take_as("ma", nn.MultiheadAttention)
    return TransformerLayer(q, k, v, attention, part.take("fc1"), part.take("fc2"))


def _transformer_block(part: Part) -> nn.Module:
    conv = part.take("conv") if "conv" in part.children else None
    return TransformerBlock(part.take("linear"), part.take("tr"), conv)


def _mix_conv(part: Part) -> nn.Module:
    layer = MixConv(part.take_as("m", nn.ModuleList), part.take("bn"), part.take("act"))
    if isinstance(layer.act, nn.LeakyReLU):
        raise CheckpointError("MixConv2d from before v6.0, which adds its input to its output")
    return layer


def _sum(part: Part) -> nn.Module:
    return Sum(part.parameter_length("w") if part.flag("weight") else 0)


def _detect(part: Part) -> nn.Module:
    anchors = part.buffer("anchors")
    if anchors is None or "m" not in part.children:
        raise CheckpointError(
            "Detect without anchors, the anchor-free head of YOLOv8 and later; expected YOLOv5 v6.0 to v7.0:"
            " export the model to ONNX and use `edgevision adopt`"
        )
    return Detect(part.take_as("m", nn.ModuleList), anchors.float())


def _segment(part: Part) -> nn.Module:
    proto = part.take_as("proto", Proto)
    detect = _detect(part)
    assert isinstance(detect, Detect)
    count, last = part.integer("nm"), proto.cv3
    if not isinstance(last, ConvBlock) or last.conv.out_channels != count:
        raise CheckpointError(f"Segment of {count} masks whose prototypes do not end in a Conv of as many")
    return Segment(detect.m, detect.anchors, proto, count)


def _refuse(reason: str) -> Builder:
    def builder(part: Part) -> nn.Module:
        raise CheckpointError(f"{part.kind}: {reason}; expected the Detect head of YOLOv5 v6.0 to v7.0")

    return builder


YOLOV5_KINDS: dict[str, Builder] = {
    **SHARED_KINDS,
    "BottleneckCSP": _bottleneck_csp,
    "Classify": _refuse("a classification head"),
    "Contract": lambda part: Contract(part.integer("gain")),
    "Detect": _detect,
    "Expand": lambda part: Expand(part.integer("gain")),
    "MixConv2d": _mix_conv,
    "Segment": _segment,
    "Sum": _sum,
    "TransformerBlock": _transformer_block,
    "TransformerLayer": _transformer_layer,
}
"""Builders by layer."""
