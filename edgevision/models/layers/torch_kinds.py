"""Builders of PyTorch's own layers from their pickled attributes."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from edgevision.errors import CheckpointError
from edgevision.models.layers.part import Builder, Part, shown

_NEARLY_ZERO = 1e-30
"""ONNX Runtime merges padding by 0 into a max-pool that follows, whose own padding is -inf; other values stay."""


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


def conv_transpose2d(part: Part) -> nn.Module:
    """A transposed convolution, grouped or not."""
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


def _global_pool(part: Part) -> nn.Module:
    if part.pair("output_size") != (1, 1):
        raise CheckpointError("nn.AdaptiveAvgPool2d to another size than one cell")
    return nn.AdaptiveAvgPool2d(1)


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


def _four(part: Part) -> tuple[int, int, int, int]:
    value = part.value("padding")
    if not isinstance(value, tuple) or len(value) != 4 or not all(type(item) is int for item in value):
        raise CheckpointError(f"{part.kind}.padding is {shown(value)}, expected four whole numbers")
    return value[0], value[1], value[2], value[3]


TORCH_KINDS: dict[str, Builder] = {
    "nn.AdaptiveAvgPool2d": _global_pool,
    "nn.BatchNorm2d": _batch_norm,
    "nn.Conv2d": _conv2d,
    "nn.ConvTranspose2d": conv_transpose2d,
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
    "nn.ZeroPad2d": lambda part: nn.ConstantPad2d(_four(part), _NEARLY_ZERO),
}
"""Builders by layer."""
