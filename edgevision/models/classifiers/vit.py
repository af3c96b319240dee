"""Vision Transformer (arXiv 2010.11929) with torchvision's parameter names: ``encoder.layers.encoder_layer_0``."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.classifiers.family import Expected, Family, Library, Marks

_EPS = 1e-6
_HEAD_WIDTH = 64
"""Channels of each attention head, in all sizes of the paper."""
_SIZES = {192: "Ti", 384: "S", 768: "B"}
"""Names of the widths: table 1 of arXiv 2106.10270."""


@dataclass(frozen=True)
class VitShape:
    """Channels, encoder layers, side of a patch and patches per side of the image."""

    width: int
    depth: int
    patch: int
    grid: int

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"ViT-{_SIZES.get(self.width, self.width)}/{self.patch}"

    @property
    def features(self) -> int:
        """Channels before the last layer."""
        return self.width

    @property
    def side(self) -> int:
        """Side of the image in pixels; fixed, because each position has its own embedding."""
        return self.patch * self.grid

    def build(self, class_count: int, library: Library = "torchvision") -> Vit:
        """The network with random weights."""
        del library
        return Vit(self, class_count)

    def timm_layers(self) -> dict[str, str]:
        """Our layer and tensor names by timm's."""
        table = {
            "cls_token": "class_token",
            "pos_embed": "encoder.pos_embedding",
            "patch_embed.proj": "conv_proj",
            "norm": "encoder.ln",
            "head": "heads.head",
        }
        for number in range(self.depth):
            theirs, ours = f"blocks.{number}", f"encoder.layers.encoder_layer_{number}"
            table |= {
                f"{theirs}.norm1": f"{ours}.ln_1",
                f"{theirs}.attn.qkv.weight": f"{ours}.self_attention.in_proj_weight",
                f"{theirs}.attn.qkv.bias": f"{ours}.self_attention.in_proj_bias",
                f"{theirs}.attn.proj": f"{ours}.self_attention.out_proj",
                f"{theirs}.norm2": f"{ours}.ln_2",
                f"{theirs}.mlp.fc1": f"{ours}.mlp.0",
                f"{theirs}.mlp.fc2": f"{ours}.mlp.3",
            }
        return table


class SelfAttention(nn.Module):
    """Multi-head self-attention (arXiv 1706.03762) of tokens ``[B,N,width]``; one matrix makes all three inputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // _HEAD_WIDTH
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens to tokens."""
        batch, count, width = x.shape
        joint = nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = joint.view(batch, count, 3, self.heads, _HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        shares = (query / math.sqrt(_HEAD_WIDTH) @ key.transpose(2, 3)).softmax(-1)
        out: torch.Tensor = self.out_proj((shares @ value).transpose(1, 2).reshape(batch, count, width))
        return out


class _Layer(nn.Module):
    """Attention and two linear layers, each after layer normalisation and beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, _EPS)
        self.self_attention = SelfAttention(width)
        self.ln_2 = nn.LayerNorm(width, _EPS)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens to tokens."""
        x = x + self.self_attention(self.ln_1(x))
        out: torch.Tensor = x + self.mlp(self.ln_2(x))
        return out


class _Encoder(nn.Module):
    """Positions, layers and the last normalisation."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(
            torch.empty(1, shape.grid**2 + 1, shape.width).uniform_(-0.03, 0.03)
        )
        self.layers = nn.Sequential(
            OrderedDict((f"encoder_layer_{number}", _Layer(shape.width)) for number in range(shape.depth))
        )
        self.ln = nn.LayerNorm(shape.width, _EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens to tokens."""
        out: torch.Tensor = self.ln(self.layers(x + self.pos_embedding))
        return out


class Vit(nn.Module):
    """A classifier: float ``[B,3,side,side]``, normalised as in its training, to logits ``[B,classes]``.

    Raises `UsageError` for images of another size than the checkpoint's.
    """

    def __init__(self, shape: VitShape, class_count: int) -> None:
        super().__init__()
        self.side = shape.side
        self.class_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.conv_proj = nn.Conv2d(3, shape.width, shape.patch, shape.patch)
        self.encoder = _Encoder(shape)
        self.heads = nn.Sequential(OrderedDict(head=nn.Linear(shape.width, class_count)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        if tuple(x.shape[2:]) != (self.side, self.side):
            raise UsageError(
                f"this ViT has position embeddings for {self.side}x{self.side} px; received"
                f" {int(x.shape[3])}x{int(x.shape[2])}; export it without --size"
            )
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        first = self.class_token.expand(x.shape[0], -1, -1)
        tokens: torch.Tensor = self.encoder(torch.cat([first, patches], 1))
        logits: torch.Tensor = self.heads(tokens[:, 0])
        return logits


def _shapes(tensors: Mapping[str, torch.Tensor], library: Library) -> tuple[VitShape, ...]:
    """The only shape that fits: everything but the strides is in the names and shapes."""
    names = (
        ("conv_proj.weight", "encoder.pos_embedding", "encoder.layers.encoder_layer_{}.ln_1.weight")
        if library == "torchvision"
        else ("patch_embed.proj.weight", "pos_embed", "blocks.{}.norm1.weight")
    )
    patches, positions = tensors.get(names[0]), tensors.get(names[1])
    if patches is None or positions is None or patches.ndim != 4 or positions.ndim != 3:
        raise CheckpointError(f"not the weights of a ViT: expected {names[0]} and {names[1]}")
    depth = 0
    while names[2].format(depth) in tensors:
        depth += 1
    width, patch = patches.shape[0], patches.shape[2]
    grid = math.isqrt(max(positions.shape[1] - 1, 0))
    if grid**2 + 1 != positions.shape[1] or not grid or not patch or not width or width % _HEAD_WIDTH:
        raise CheckpointError(
            f"a ViT of width {width} with {positions.shape[1]} position embeddings: expected a multiple of"
            f" {_HEAD_WIDTH}, and a square number of patches and one class token"
        )
    return (VitShape(width, depth, patch, grid),)


def _expected(shape: VitShape, library: Library) -> Expected:
    side = (shape.side, shape.side)
    if library == "timm":
        return Expected(side, 0.9 if shape.side <= 224 else 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Expected(side, 224 / 256 if shape.side <= 224 else 1.0)


FAMILY = Family(
    "ViT",
    _shapes,
    {
        "torchvision": Marks("heads.head.weight", ("class_token", "conv_proj.weight")),
        "timm": Marks("head.weight", ("cls_token", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight")),
    },
    _expected,
    VitShape(192, 12, 16, 14),
    fixed_size=True,
)
