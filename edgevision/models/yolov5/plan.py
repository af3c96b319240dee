"""The layout of YOLOv5's published models, with three scales (P5) or four (P6), at any depth and width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.layers.blocks import C3, Bottleneck, Concat, ConvBlock, Proto, Sppf
from edgevision.models.yolov5.layers import Detect, Segment

Anchors = tuple[tuple[tuple[float, float], ...], ...]
"""Widths and heights in pixels: one tuple of pairs for each scale, finest first."""

COCO_ANCHORS_P5: Anchors = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
COCO_ANCHORS_P6: Anchors = (
    ((19, 27), (44, 40), (38, 94)),
    ((96, 68), (86, 152), (180, 137)),
    ((140, 301), (303, 264), (238, 542)),
    ((436, 615), (739, 380), (925, 792)),
)

BN_EPS = 1e-3
BN_MOMENTUM = 0.03

_STAGES = {3: (64, 128, 256, 512, 1024), 4: (64, 128, 256, 512, 768, 1024)}
"""Channels at width 1, from the stem to the deepest stage, by number of scales."""
_REPEATS = {3: (3, 6, 9, 3), 4: (3, 6, 9, 3, 3)}
_HEAD_REPEATS = 3
_PROTO_CHANNELS = 256
_LAYER_COUNT = {3: 25, 4: 34}


@dataclass(frozen=True, slots=True)
class YoloV5Config:
    """Parameters of a published layout; `names` default to numbers.

    With a `mask_count` it is a segmentation model that combines masks from that many prototypes.
    """

    depth_multiple: float
    width_multiple: float
    class_count: int
    names: tuple[str, ...] = ()
    anchors_px: Anchors = COCO_ANCHORS_P5
    mask_count: int = 0

    def __post_init__(self) -> None:
        if self.depth_multiple <= 0 or self.width_multiple <= 0 or self.class_count < 1:
            raise UsageError(f"depth, width and class count must be positive, received {self}")
        if len(self.anchors_px) not in _STAGES or len({len(scale) for scale in self.anchors_px}) != 1:
            raise UsageError("anchors must be given for 3 or 4 scales, equally many for each")
        if self.names and len(self.names) != self.class_count:
            raise UsageError(f"{len(self.names)} class names for {self.class_count} classes")

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the input for each cell, finest scale first."""
        return tuple(8 << scale for scale in range(len(self.anchors_px)))


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One layer: its kind, the indices of its inputs (-1 is the image), and its parameters."""

    kind: Literal["conv", "c3", "sppf", "upsample", "concat", "detect", "segment"]
    sources: tuple[int, ...]
    channels: int = 0
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    repeats: int = 1
    shortcut: bool = False


def plan_from_config(config: YoloV5Config) -> tuple[LayerPlan, ...]:
    """The published layout at a config's depth and width; channels are rounded up to multiples of 8."""

    def scaled(step: LayerPlan) -> LayerPlan:
        repeats = max(round(step.repeats * config.depth_multiple), 1) if step.repeats > 1 else step.repeats
        return replace(
            step, channels=math.ceil(step.channels * config.width_multiple / 8) * 8, repeats=repeats
        )

    return tuple(scaled(step) for step in _full_plan(len(config.anchors_px), masks=config.mask_count > 0))


def _full_plan(scales: int, *, masks: bool) -> list[LayerPlan]:
    """Depth 1 and width 1: backbone, then top-down and bottom-up paths (arXiv 1612.03144, 1803.01534)."""
    stages = _STAGES[scales]
    plan = [LayerPlan("conv", (-1,), stages[0], kernel=6, stride=2, padding=2)]

    def add(step: LayerPlan) -> int:
        """Append a step whose inputs are the previous step and then its own sources."""
        plan.append(replace(step, sources=(len(plan) - 1, *step.sources)))
        return len(plan) - 1

    def halved(channels: int) -> LayerPlan:
        return LayerPlan("conv", (), channels, kernel=3, stride=2, padding=1)

    ends: list[int] = []
    for channels, repeats in zip(stages[1:], _REPEATS[scales], strict=True):
        add(halved(channels))
        ends.append(add(LayerPlan("c3", (), channels, repeats=repeats, shortcut=True)))
    add(LayerPlan("sppf", (), stages[-1], kernel=5))
    lateral: list[int] = []
    heads: list[int] = []
    for channels, end in zip(stages[-2:1:-1], ends[-2:0:-1], strict=True):
        lateral.append(add(LayerPlan("conv", (), channels)))
        add(LayerPlan("upsample", ()))
        add(LayerPlan("concat", (end,)))
        heads = [add(LayerPlan("c3", (), channels, repeats=_HEAD_REPEATS))]
    for below, channels, side in zip(stages[2:-1], stages[3:], reversed(lateral), strict=True):
        add(halved(below))
        add(LayerPlan("concat", (side,)))
        heads.append(add(LayerPlan("c3", (), channels, repeats=_HEAD_REPEATS)))
    head = LayerPlan("segment", (), _PROTO_CHANNELS) if masks else LayerPlan("detect", ())
    return [*plan, replace(head, sources=tuple(heads))]


def plan_from_tensors(tensors: Mapping[str, torch.Tensor]) -> tuple[LayerPlan, ...]:
    """The published layout with channels, kernels and repeats inferred from a state dict's shapes.

    Raises `CheckpointError` if the names do not match a published layout.
    """
    last = max(
        (int(parts[1]) for name in tensors if (parts := name.split("."))[1:2] and parts[1].isdecimal()),
        default=-1,
    )
    scales = next((scales for scales, count in _LAYER_COUNT.items() if count == last + 1), None)
    if scales is None or f"model.{last}.anchors" not in tensors:
        raise CheckpointError(
            "bare weights without a published YOLOv5 layout: expected model.24.anchors (three scales) or"
            f" model.33.anchors (four), found {last + 1} layers; use the .pt that YOLOv5's training wrote, which"
            " describes its layers"
        )

    def shape(index: int, part: str) -> tuple[int, ...]:
        name = f"model.{index}.{part}conv.weight"
        if name not in tensors or tensors[name].ndim != 4:
            raise CheckpointError(
                f"bare weights without {name}, which the published layout of YOLOv5 v6.0 to v7.0 has; use the .pt"
                " that YOLOv5's training wrote, which describes its layers"
            )
        return tuple(tensors[name].shape)

    def measured(index: int, step: LayerPlan) -> LayerPlan:
        if step.kind == "conv":
            return replace(step, channels=shape(index, "")[0])
        if step.kind == "sppf":
            return replace(step, channels=shape(index, "cv2.")[0])
        if step.kind == "c3":
            prefix = f"model.{index}.m."
            inner = {name.split(".")[3] for name in tensors if name.startswith(prefix)}
            return replace(step, channels=shape(index, "cv3.")[0], repeats=len(inner))
        if step.kind == "segment":
            return replace(step, channels=shape(index, "proto.cv1.")[0])
        return step

    plan = _full_plan(scales, masks=mask_count_of(tensors, last) > 0)
    return tuple(measured(index, step) for index, step in enumerate(plan))


def mask_count_of(tensors: Mapping[str, torch.Tensor], last: int) -> int:
    """The number of prototypes of the head, layer `last`; 0 for a detector's."""
    weight = tensors.get(f"model.{last}.proto.cv3.conv.weight")
    return 0 if weight is None or weight.ndim != 4 else weight.shape[0]


def layers_from_plan(
    plan: Sequence[LayerPlan],
    anchors: torch.Tensor,
    class_count: int,
    *,
    mask_count: int = 0,
    fused: bool = False,
) -> list[nn.Module]:
    """The layers of a plan; `anchors` in units of the strides; `fused` ones have no normalisation."""
    head = _HeadPlan(anchors, class_count, mask_count)
    channels: list[int] = []
    layers: list[nn.Module] = []
    for step in plan:
        inputs = [3 if source < 0 else channels[source] for source in step.sources]
        layers.append(_layer(step, inputs, head, fused=fused))
        channels.append({"upsample": inputs[0], "concat": sum(inputs)}.get(step.kind, step.channels))
    return layers


@dataclass(frozen=True, slots=True, eq=False)
class _HeadPlan:
    """Parameters of the head besides its inputs."""

    anchors: torch.Tensor
    class_count: int
    mask_count: int


def _layer(step: LayerPlan, inputs: list[int], head: _HeadPlan, *, fused: bool) -> nn.Module:
    if step.kind == "conv":
        return _conv(inputs[0], step.channels, step.kernel, step.stride, step.padding, fused=fused)
    if step.kind == "c3":
        return _c3(inputs[0], step, fused=fused)
    if step.kind == "sppf":
        hidden = inputs[0] // 2
        pool = nn.MaxPool2d(step.kernel, 1, step.kernel // 2)
        first = _conv(inputs[0], hidden, fused=fused)
        return Sppf(first, _conv(4 * hidden, step.channels, fused=fused), pool)
    if step.kind == "upsample":
        return nn.Upsample(scale_factor=2.0, mode="nearest")
    if step.kind == "concat":
        return Concat()
    outputs = head.anchors.shape[1] * (5 + head.class_count + head.mask_count)
    m = nn.ModuleList(nn.Conv2d(count, outputs, 1) for count in inputs)
    if step.kind == "detect":
        return Detect(m, head.anchors)
    proto = Proto(
        _conv(inputs[0], step.channels, 3, 1, 1, fused=fused),
        nn.Upsample(scale_factor=2.0, mode="nearest"),
        _conv(step.channels, step.channels, 3, 1, 1, fused=fused),
        _conv(step.channels, head.mask_count, fused=fused),
    )
    return Segment(m, head.anchors, proto, head.mask_count)


def _conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int = 0, *, fused: bool = False
) -> ConvBlock:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=fused)
    bn = None if fused else nn.BatchNorm2d(outputs, eps=BN_EPS, momentum=BN_MOMENTUM)
    return ConvBlock(conv, bn, nn.SiLU())


def _c3(inputs: int, step: LayerPlan, *, fused: bool) -> C3:
    hidden = step.channels // 2
    cv1, cv2 = (_conv(inputs, hidden, fused=fused) for _ in range(2))
    inner = [
        Bottleneck(
            _conv(hidden, hidden, fused=fused),
            _conv(hidden, hidden, 3, 1, 1, fused=fused),
            add=step.shortcut,
        )
        for _ in range(step.repeats)
    ]
    return C3(cv1, cv2, _conv(2 * hidden, step.channels, fused=fused), nn.Sequential(*inner))
