"""Rebuilds YOLOv5's layers from a pickled model's stand-ins, with sizes and switches from the file's attributes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from edgevision.checkpoint.pickled import PickledObject
from edgevision.checkpoint.reading import named_entries
from edgevision.errors import CheckpointError
from edgevision.models.yolov5_layers import (
    C3,
    Bottleneck,
    BottleneckCsp,
    Concat,
    Contract,
    ConvBlock,
    Detect,
    Expand,
    Focus,
    GhostBottleneck,
    GhostConv,
    MixConv,
    Proto,
    Segment,
    Spp,
    Sppf,
    Sum,
    TransformerBlock,
    TransformerLayer,
)

_Child = TypeVar("_Child", bound=nn.Module)
_DEPTH_LIMIT = 50


class Part:
    """One stand-in during its rebuild: its attributes, checked on access, and its rebuilt children."""

    def __init__(self, pickled: PickledObject, children: OrderedDict[str, nn.Module]) -> None:
        self.kind = kind_of(pickled)
        self.children = children
        self._state = pickled.state
        self._parameters = dict(named_entries(pickled, "_parameters"))
        self._buffers = dict(named_entries(pickled, "_buffers"))

    def take(self, name: str) -> nn.Module:
        """A child that the layer requires."""
        if name not in self.children:
            raise CheckpointError(f"{self.kind} without its part {name!r}")
        return self.children.pop(name)

    def take_as(self, name: str, cls: type[_Child]) -> _Child:
        """A child of a given class."""
        child = self.take(name)
        if not isinstance(child, cls):
            raise CheckpointError(
                f"{self.kind}: part {name!r} is {type(child).__name__}, expected {cls.__name__}"
            )
        return child

    def value(self, name: str, default: object = None) -> object:
        """An attribute, unchecked."""
        return self._state.get(name, default)

    def integer(self, name: str) -> int:
        """An integer attribute."""
        value = self.value(name)
        if type(value) is not int:
            raise CheckpointError(f"{self.kind}.{name} is {_shown(value)}, expected a whole number")
        return value

    def number(self, name: str, default: float) -> float:
        """A numeric attribute."""
        value = self.value(name, default)
        if type(value) not in (int, float):
            raise CheckpointError(f"{self.kind}.{name} is {_shown(value)}, expected a number")
        return float(value)  # type: ignore[arg-type]  # its type was checked

    def pair(self, name: str) -> tuple[int, int]:
        """An attribute for height and width; one number serves both."""
        value = self.value(name)
        if type(value) is int:
            return value, value
        if isinstance(value, (tuple, list)) and len(value) == 2 and all(type(item) is int for item in value):
            return value[0], value[1]
        raise CheckpointError(f"{self.kind}.{name} is {_shown(value)}, expected one or two whole numbers")

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean attribute."""
        return bool(self.value(name, default))

    def has_tensor(self, name: str) -> bool:
        """True if a parameter of this name has values."""
        return isinstance(self._parameters.get(name), torch.Tensor)

    def buffer(self, name: str) -> torch.Tensor | None:
        """A buffer's values."""
        tensor = self._buffers.get(name)
        return tensor if isinstance(tensor, torch.Tensor) else None

    def parameter_length(self, name: str) -> int:
        """The number of a parameter's values, 0 if it is missing."""
        tensor = self._parameters.get(name)
        return tensor.numel() if isinstance(tensor, torch.Tensor) else 0


def _shown(value: object) -> str:
    """A number unchanged, and only the type of anything else: a file can make it long or deep."""
    return repr(value) if isinstance(value, (int, float)) else f"a {type(value).__name__}"


def kind_of(pickled: PickledObject) -> str:
    """A class's name as architectures spell it: "Conv", "nn.Conv2d"."""
    return f"nn.{pickled.kind}" if pickled.class_name.startswith("torch.nn.") else pickled.kind


def rebuild(pickled: PickledObject, depth: int = 0) -> nn.Module:
    """The layer that a stand-in describes, without values on the meta device.

    Raises `CheckpointError` for an unknown kind of layer, or one with unsuitable parts or attributes.
    """
    kind = kind_of(pickled)
    if depth > _DEPTH_LIMIT:
        raise CheckpointError(f"{kind}: layers nested deeper than {_DEPTH_LIMIT}")
    builder = _BUILDERS.get(kind)
    if builder is None:
        raise CheckpointError(
            f"unknown layer {pickled.class_name!a:.120}; supported: {', '.join(sorted(_BUILDERS))}"
        )
    children: OrderedDict[str, nn.Module] = OrderedDict()
    for name, child in named_entries(pickled, "_modules"):
        if isinstance(child, PickledObject):
            children[name] = rebuild(child, depth + 1)
    part = Part(pickled, children)
    try:
        layer = builder(part)
    except (ValueError, TypeError, RuntimeError, AssertionError, ArithmeticError) as error:
        raise CheckpointError(f"{kind} with attributes that do not fit: {str(error)[:200]}") from error
    if part.children:
        raise CheckpointError(f"{kind} with an unknown part {next(iter(part.children))!a:.60}")
    return layer


def _conv2d(part: Part) -> nn.Module:
    if part.value("padding_mode", "zeros") != "zeros":
        raise CheckpointError("nn.Conv2d with padding other than zeros")
    return nn.Conv2d(
        part.integer("in_channels"),
        part.integer("out_channels"),
        part.pair("kernel_size"),
        part.pair("stride"),
        part.pair("padding"),
        part.pair("dilation"),
        part.integer("groups"),
        bias=part.has_tensor("bias"),
    )


def _conv_transpose2d(part: Part) -> nn.Module:
    return nn.ConvTranspose2d(
        part.integer("in_channels"),
        part.integer("out_channels"),
        part.pair("kernel_size"),
        part.pair("stride"),
        part.pair("padding"),
        part.pair("output_padding"),
        part.integer("groups"),
        bias=part.has_tensor("bias"),
        dilation=part.pair("dilation"),
    )


def _batch_norm(part: Part) -> nn.Module:
    return nn.BatchNorm2d(
        part.integer("num_features"),
        eps=part.number("eps", 1e-5),
        momentum=None if part.value("momentum", 0.1) is None else part.number("momentum", 0.1),
        affine=part.flag("affine", default=True),
        track_running_stats=part.flag("track_running_stats", default=True),
    )


def _max_pool(part: Part) -> nn.Module:
    return nn.MaxPool2d(
        part.pair("kernel_size"),
        part.pair("stride"),
        part.pair("padding"),
        part.pair("dilation"),
        ceil_mode=part.flag("ceil_mode"),
    )


def _upsample(part: Part) -> nn.Module:
    scale, size = part.value("scale_factor"), part.value("size")
    return nn.Upsample(
        size=None if size is None else part.pair("size"),
        scale_factor=tuple(map(float, scale))
        if isinstance(scale, (tuple, list))
        else part.number("scale_factor", 1.0),
        mode=str(part.value("mode", "nearest")),
        align_corners=True if part.flag("align_corners") else None,
    )


def _linear(part: Part) -> nn.Module:
    return nn.Linear(part.integer("in_features"), part.integer("out_features"), bias=part.has_tensor("bias"))


def _attention(part: Part) -> nn.Module:
    part.take("out_proj")
    if (
        not part.flag("_qkv_same_embed_dim", default=True)
        or part.flag("add_zero_attn")
        or part.flag("batch_first")
    ):
        raise CheckpointError("nn.MultiheadAttention that differs from TransformerLayer's")
    width = part.integer("embed_dim")
    return nn.MultiheadAttention(width, part.integer("num_heads"), bias=part.has_tensor("in_proj_bias"))


def _sequential(part: Part) -> nn.Module:
    children, part.children = part.children, OrderedDict()
    return nn.Sequential(children)


def _module_list(part: Part) -> nn.Module:
    children, part.children = part.children, OrderedDict()
    if list(children) != [str(index) for index in range(len(children))]:
        raise CheckpointError("nn.ModuleList whose members are not numbered in order")
    return nn.ModuleList(children.values())


def _conv_block(part: Part) -> nn.Module:
    bn = part.take_as("bn", nn.BatchNorm2d) if "bn" in part.children else None
    return ConvBlock(part.take_as("conv", nn.Conv2d), bn, part.take("act"))


def _bottleneck(part: Part) -> nn.Module:
    return Bottleneck(part.take("cv1"), part.take("cv2"), add=part.flag("add"))


def _bottleneck_csp(part: Part) -> nn.Module:
    names = ("cv1", "cv2", "cv3", "cv4", "bn", "act", "m")
    return BottleneckCsp(*(part.take(name) for name in names))


def _c3(part: Part) -> nn.Module:
    return C3(part.take("cv1"), part.take("cv2"), part.take("cv3"), part.take("m"))


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


def _proto(part: Part) -> nn.Module:
    return Proto(part.take("cv1"), part.take("upsample"), part.take("cv2"), part.take("cv3"))


def _segment(part: Part) -> nn.Module:
    proto = part.take_as("proto", Proto)
    detect = _detect(part)
    assert isinstance(detect, Detect)
    count, last = part.integer("nm"), proto.cv3
    if not isinstance(last, ConvBlock) or last.conv.out_channels != count:
        raise CheckpointError(f"Segment of {count} masks whose prototypes do not end in a Conv of as many")
    return Segment(detect.m, detect.anchors, proto, count)


def _refuse(reason: str) -> Callable[[Part], nn.Module]:
    def builder(part: Part) -> nn.Module:
        raise CheckpointError(f"{part.kind}: {reason}; expected the Detect head of YOLOv5 v6.0 to v7.0")

    return builder


_BUILDERS: dict[str, Callable[[Part], nn.Module]] = {
    **dict.fromkeys(("Conv", "DWConv"), _conv_block),
    **dict.fromkeys(("Bottleneck", "CrossConv"), _bottleneck),
    **dict.fromkeys(("C3", "C3x", "C3TR", "C3SPP", "C3Ghost"), _c3),
    "BottleneckCSP": _bottleneck_csp,
    "Classify": _refuse("a classification head"),
    "Concat": lambda part: Concat(part.integer("d")),
    "Contract": lambda part: Contract(part.integer("gain")),
    "DWConvTranspose2d": _conv_transpose2d,
    "Detect": _detect,
    "Expand": lambda part: Expand(part.integer("gain")),
    "Focus": lambda part: Focus(part.take("conv")),
    "GhostBottleneck": lambda part: GhostBottleneck(part.take("conv"), part.take("shortcut")),
    "GhostConv": lambda part: GhostConv(part.take("cv1"), part.take("cv2")),
    "MixConv2d": _mix_conv,
    "Proto": _proto,
    "SPP": lambda part: Spp(part.take("cv1"), part.take("cv2"), part.take_as("m", nn.ModuleList)),
    "SPPF": lambda part: Sppf(part.take("cv1"), part.take("cv2"), part.take("m")),
    "Segment": _segment,
    "Sum": _sum,
    "TransformerBlock": _transformer_block,
    "TransformerLayer": _transformer_layer,
    "nn.BatchNorm2d": _batch_norm,
    "nn.Conv2d": _conv2d,
    "nn.ConvTranspose2d": _conv_transpose2d,
    "nn.Dropout": lambda part: nn.Dropout(part.number("p", 0.5)),
    "nn.ELU": lambda part: nn.ELU(part.number("alpha", 1.0)),
    "nn.GELU": lambda part: nn.GELU(str(part.value("approximate", "none"))),
    "nn.Hardswish": lambda _: nn.Hardswish(),
    "nn.Identity": lambda _: nn.Identity(),
    "nn.LeakyReLU": lambda part: nn.LeakyReLU(part.number("negative_slope", 0.01)),
    **dict.fromkeys(("nn.Linear", "nn.NonDynamicallyQuantizableLinear", "nn._LinearWithBias"), _linear),
    "nn.MaxPool2d": _max_pool,
    "nn.Mish": lambda _: nn.Mish(),
    "nn.ModuleList": _module_list,
    "nn.MultiheadAttention": _attention,
    "nn.PReLU": lambda part: nn.PReLU(part.parameter_length("weight")),
    "nn.ReLU": lambda _: nn.ReLU(),
    "nn.ReLU6": lambda _: nn.ReLU6(),
    "nn.Sequential": _sequential,
    "nn.SiLU": lambda _: nn.SiLU(),
    "nn.Sigmoid": lambda _: nn.Sigmoid(),
    "nn.Tanh": lambda _: nn.Tanh(),
    "nn.Upsample": _upsample,
    "nn.ZeroPad2d": lambda part: nn.ZeroPad2d(_four(part)),
}


def _four(part: Part) -> tuple[int, int, int, int]:
    value = part.value("padding")
    if not isinstance(value, tuple) or len(value) != 4 or not all(type(item) is int for item in value):
        raise CheckpointError(f"{part.kind}.padding is {_shown(value)}, expected four whole numbers")
    return value[0], value[1], value[2], value[3]
