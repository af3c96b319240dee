"""RRDBNet, the generator of ESRGAN (Wang et al., arXiv 1809.00219) and Real-ESRGAN (arXiv 2107.10833)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

_SLOPE = 0.2
"""Of every leaky ReLU."""
_RESIDUAL = 0.2
"""Factor of what a block adds to its input."""
_CONVOLUTIONS = 5
"""Convolutions of a dense block."""
_REDUCTIONS = {3: 1, 12: 2, 48: 4}
"""Channels of the first convolution, and the side of the pixel blocks that become channels before it."""
_MOST_ENLARGEMENTS = 4


@dataclass(frozen=True, slots=True)
class RrdbShape:
    """Sizes of an `RRDBNet`; the defaults are those of RealESRGAN_x4plus."""

    blocks: int = 23
    width: int = 64
    """Channels between the blocks."""
    growth: int = 32
    """Channels that each convolution of a dense block adds."""
    enlargements: int = 2
    """Enlargements by 2 after the blocks."""
    reduction: int = 1
    """Pixels of blocks of this side become channels before the first convolution: 1, 2 or 4."""

    def __post_init__(self) -> None:
        least = min(self.blocks, self.width, self.growth)
        factor_fits = 2**self.enlargements % self.reduction == 0
        if least < 1 or self.reduction not in _REDUCTIONS.values() or not factor_fits:
            raise UsageError(
                "blocks, width and growth must be positive, reduction 1, 2 or 4 and at most 2**enlargements; received"
                f" {self.blocks}, {self.width}, {self.growth}, {self.reduction} and {self.enlargements}"
            )

    @property
    def factor(self) -> int:
        """The made image's sides relative to the input's."""
        return (1 << self.enlargements) // self.reduction


class _DenseBlock(nn.Module):
    """Five convolutions, each on the input and the results of all before; 0.2 times the last is added to the input."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for number in range(1, _CONVOLUTIONS + 1):
            after = width if number == _CONVOLUTIONS else growth
            self.add_module(f"conv{number}", _convolution(width + (number - 1) * growth, after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        *inner, last = self.children()
        found = [x]
        for convolution in inner:
            found.append(_rectified(convolution(torch.cat(found, 1))))
        out: torch.Tensor = x + _RESIDUAL * last(torch.cat(found, 1))
        return out


class _Block(nn.Module):
    """Residual in residual dense block: 0.2 times the result of three dense blocks is added to the input."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = _DenseBlock(width, growth)
        self.rdb2 = _DenseBlock(width, growth)
        self.rdb3 = _DenseBlock(width, growth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        out: torch.Tensor = x + _RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))
        return out


class RRDBNet(nn.Module):
    """Enlarges images: float ``[B,3,H,W]`` RGB in 0..1 to ``[B,3,H*factor,W*factor]``.

    Parameter names are those of Real-ESRGAN's checkpoints. Both sides must be multiples of `RrdbShape.reduction`.
    """

    def __init__(self, shape: RrdbShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.conv_first = _convolution(3 * shape.reduction**2, width)
        self.body = nn.Sequential(*(_Block(width, shape.growth) for _ in range(shape.blocks)))
        self.conv_body = _convolution(width, width)
        for number in range(1, shape.enlargements + 1):
            self.add_module(f"conv_up{number}", _convolution(width, width))
        self.conv_hr = _convolution(width, width)
        self.conv_last = _convolution(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Small images to large ones."""
        if self.shape.reduction > 1:
            x = F.pixel_unshuffle(x, self.shape.reduction)
        x = self.conv_first(x)
        x = x + self.conv_body(self.body(x))
        for number in range(1, self.shape.enlargements + 1):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = _rectified(self.get_submodule(f"conv_up{number}")(x))
        out: torch.Tensor = self.conv_last(_rectified(self.conv_hr(x)))
        return out


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def _rectified(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, _SLOPE)


_FIRST = "conv_first.weight"
_LISTED_FIRST = "model.0.weight"
_LISTED_BLOCK = "model.1.sub.0.RDB1.conv1.0.weight"
_LISTED = re.compile(r"model\.1\.sub\.(\d+)\.RDB([123])\.conv([1-5])\.0\.(weight|bias)")
_LISTED_BODY = re.compile(r"model\.1\.sub\.(\d+)\.(weight|bias)")
_LISTED_END = re.compile(r"model\.(\d+)\.(weight|bias)")
_NAMED = re.compile(r"RRDB_trunk\.(\d+)\.RDB([123])\.(conv[1-5]\.(?:weight|bias))")
_RENAMED = {
    "trunk_conv": "conv_body",
    "upconv1": "conv_up1",
    "upconv2": "conv_up2",
    "HRconv": "conv_hr",
}


def is_rrdb(tensors: Mapping[str, torch.Tensor]) -> bool:
    """True for a state dict with the network's names, new or old."""
    return any(
        all(name in found for name in names)
        for names in (
            (_FIRST, "body.0.rdb1.conv1.weight", "conv_last.weight"),
            (_FIRST, "RRDB_trunk.0.RDB1.conv1.weight", "conv_last.weight"),
            (_LISTED_FIRST, _LISTED_BLOCK),
        )
        for found in (without_prefix(tensors, names[0]),)
    )


def with_present_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of ESRGAN's checkpoints of both older namings by the names of Real-ESRGAN; others are unchanged.

    The oldest naming numbers the layers of a sequence: the first convolution, the blocks with a convolution after
    them, then three places for each enlargement (the convolution is the second), and two convolutions around an
    activation.
    """
    listed = without_prefix(tensors, _LISTED_FIRST)
    rename: Callable[[str], str] = _named_name
    if _LISTED_BLOCK in listed:
        tensors = listed
        ends = [int(match[1]) for name in listed if (match := _LISTED_END.fullmatch(name))]
        rename = _listed_name(max(ends))
    return {rename(name): tensor for name, tensor in without_prefix(tensors, _FIRST).items()}


def _named_name(name: str) -> str:
    if match := _NAMED.fullmatch(name):
        return f"body.{match[1]}.rdb{match[2]}.{match[3]}"
    layer, _, parameter = name.rpartition(".")
    return f"{_RENAMED.get(layer, layer)}.{parameter}"


def _listed_name(last: int) -> Callable[[str], str]:
    ends = {0: "conv_first", last - 2: "conv_hr", last: "conv_last"}
    ends.update({3 * number: f"conv_up{number}" for number in range(1, (last - 4) // 3 + 1)})

    def rename(name: str) -> str:
        if match := _LISTED.fullmatch(name):
            return f"body.{match[1]}.rdb{match[2]}.conv{match[3]}.{match[4]}"
        if match := _LISTED_BODY.fullmatch(name):
            return f"conv_body.{match[2]}"
        if (match := _LISTED_END.fullmatch(name)) and int(match[1]) in ends:
            return f"{ends[int(match[1])]}.{match[2]}"
        return name

    return rename


def rrdb_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> RRDBNet:
    """The `RRDBNet` with these weights, in eval mode; its sizes are read from the shapes.

    Raises `CheckpointError` if the weights belong to another network.
    """
    tensors = with_present_names(tensors)
    first, inner = tensors.get(_FIRST), tensors.get("body.0.rdb1.conv1.weight")
    blocks = {name.split(".")[1] for name in tensors if name.startswith("body.")}
    enlargements = sum(bool(re.fullmatch(r"conv_up\d+\.weight", name)) for name in tensors)
    fits = first is not None and inner is not None and first.ndim == inner.ndim == 4
    if first is None or inner is None or not fits or enlargements > _MOST_ENLARGEMENTS:
        raise CheckpointError(
            "not the weights of an RRDBNet: expected conv_first.weight, body.0.rdb1.conv1.weight and conv_up1.weight"
        )
    reduction = _REDUCTIONS.get(first.shape[1], 0)
    if not reduction or 2**enlargements % reduction:
        raise CheckpointError(
            f"an RRDBNet of {first.shape[1]} input channels and {enlargements} enlargements by 2; expected 3 channels,"
            " 12 with at least one, or 48 with at least two"
        )
    with torch.device("meta"):
        shape = RrdbShape(len(blocks), first.shape[0], inner.shape[0], enlargements, reduction)
        model = RRDBNet(shape)
    assign_weights(model, tensors)
    return model.eval()
