"""SegFormer (arXiv 2105.15203) with the names of transformers' checkpoints: ``segformer.encoder.block.0.0``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

_HEADS = (1, 2, 5, 8)
"""Attention heads of the four stages, in all sizes (table 6 of the paper)."""
_REDUCTIONS = (8, 4, 2, 1)
"""Keys and values come from a map whose sides are divided by this (section 3.1)."""
STRIDE = 32
"""Both sides of the input must be multiples of this."""
_DROPOUT = 0.1


@dataclass(frozen=True, slots=True)
class SegFormerShape:
    """Channels and layers of the four stages, factor of the hidden layers, and channels of the decoder; B0's."""

    widths: tuple[int, ...] = (32, 64, 160, 256)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    ratio: int = 4
    decoder: int = 256

    def __post_init__(self) -> None:
        counts = (*self.widths, *self.depths, self.ratio, self.decoder)
        if len(self.widths) != len(_HEADS) or len(self.depths) != len(_HEADS) or min(counts) < 1:
            raise UsageError(
                f"a SegFormer has four stages with layers, received {list(self.widths)} and {list(self.depths)}"
            )
        if any(width % heads for width, heads in zip(self.widths, _HEADS, strict=True)):
            raise UsageError(f"widths {list(self.widths)} must be multiples of the heads {list(_HEADS)}")

    @property
    def name(self) -> str:
        """The name in the paper, or the widths of another one."""
        return _NAMES.get(self, f"SegFormer {'-'.join(map(str, self.widths))}")


_WIDE = (64, 128, 320, 512)
_NAMES = {
    SegFormerShape(): "SegFormer-B0",
    SegFormerShape(_WIDE): "SegFormer-B1",
    SegFormerShape(_WIDE, (3, 4, 6, 3), 4, 768): "SegFormer-B2",
    SegFormerShape(_WIDE, (3, 4, 18, 3), 4, 768): "SegFormer-B3",
    SegFormerShape(_WIDE, (3, 8, 27, 3), 4, 768): "SegFormer-B4",
    SegFormerShape(_WIDE, (3, 6, 40, 3), 4, 768): "SegFormer-B5",
}
"""Table 6 of the paper."""


class _PatchEmbedding(nn.Module):
    """Overlapping patches: a convolution that reduces the map, and layer normalisation of its tokens."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, kernel, stride, kernel // 2)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, int, int]:
        """Map to tokens ``[B,h*w,width]``, h and w."""
        x = self.proj(x)
        return self.layer_norm(_tokens(x)), x.shape[2], x.shape[3]


class _EfficientAttention(nn.Module):
    """Self-attention whose keys and values are computed from a reduced map."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Tokens to tokens."""
        source = x
        if self.reduction > 1:
            source = self.layer_norm(_tokens(self.sr(_map(x, height, width))))
        query, key, value = (
            self._split(part) for part in (self.query(x), self.key(source), self.value(source))
        )
        shares = (query @ key.transpose(2, 3) / math.sqrt(query.shape[3])).softmax(-1)
        return (shares @ value).transpose(1, 2).reshape(x.shape)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens ``[B,N,C]`` to heads ``[B,heads,N,C/heads]``."""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


class _Output(nn.Module):
    """The linear layer after attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens to tokens."""
        out: torch.Tensor = self.dense(x)
        return out


class _Attention(nn.Module):
    """Attention and its output layer."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.self = _EfficientAttention(width, heads, reduction)
        self.output = _Output(width)

    def forward(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Tokens to tokens."""
        out: torch.Tensor = self.output(self.self(x, height, width))
        return out


class _DepthwiseConv(nn.Module):
    """3 x 3 depthwise convolution of the map that the tokens form; it replaces position embeddings (section 3.1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, 1, 1, groups=width)

    def forward(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Tokens to tokens."""
        return _tokens(self.dwconv(_map(x, height, width)))


class _MixFeedForward(nn.Module):
    """Two linear layers with a depthwise convolution and GELU between them."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.dense1 = nn.Linear(width, ratio * width)
        self.dwconv = _DepthwiseConv(ratio * width)
        self.dense2 = nn.Linear(ratio * width, width)

    def forward(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Tokens to tokens."""
        out: torch.Tensor = self.dense2(F.gelu(self.dwconv(self.dense1(x), height, width)))
        return out


class _Layer(nn.Module):
    """Attention and feed-forward layers, each after layer normalisation and beside a shortcut."""

    def __init__(self, width: int, heads: int, reduction: int, ratio: int) -> None:
        super().__init__()
        self.layer_norm_1 = nn.LayerNorm(width)
        self.attention = _Attention(width, heads, reduction)
        self.layer_norm_2 = nn.LayerNorm(width)
        self.mlp = _MixFeedForward(width, ratio)

    def forward(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Tokens to tokens."""
        x = x + self.attention(self.layer_norm_1(x), height, width)
        out: torch.Tensor = x + self.mlp(self.layer_norm_2(x), height, width)
        return out


class _Encoder(nn.Module):
    """Four stages, at a quarter to a 32nd of the input's resolution."""

    def __init__(self, shape: SegFormerShape) -> None:
        super().__init__()
        inputs = (3, *shape.widths[:-1])
        self.patch_embeddings = nn.ModuleList(
            _PatchEmbedding(before, after, 3 if stage else 7, 2 if stage else 4)
            for stage, (before, after) in enumerate(zip(inputs, shape.widths, strict=True))
        )
        self.block = nn.ModuleList(
            nn.ModuleList(_Layer(width, heads, reduction, shape.ratio) for _ in range(depth))
            for width, depth, heads, reduction in zip(
                shape.widths, shape.depths, _HEADS, _REDUCTIONS, strict=True
            )
        )
        self.layer_norm = nn.ModuleList(nn.LayerNorm(width) for width in shape.widths)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Images to one map of each stage."""
        maps = []
        for embedding, stage, norm in zip(self.patch_embeddings, self.block, self.layer_norm, strict=True):
            tokens, height, width = embedding(x)
            assert isinstance(stage, nn.ModuleList)
            for layer in stage:
                tokens = layer(tokens, height, width)
            x = _map(norm(tokens), height, width)
            maps.append(x)
        return maps


class _Backbone(nn.Module):
    """The encoder under the name that the checkpoints have."""

    def __init__(self, shape: SegFormerShape) -> None:
        super().__init__()
        self.encoder = _Encoder(shape)


class _Projection(nn.Module):
    """A linear layer for each cell of a map."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        return _map(self.proj(_tokens(x)), x.shape[2], x.shape[3])


class _Decoder(nn.Module):
    """Projects all maps to one width, joins them at a quarter of the input's resolution, and classifies each cell."""

    def __init__(self, shape: SegFormerShape, class_count: int) -> None:
        super().__init__()
        width = shape.decoder
        self.linear_c = nn.ModuleList(_Projection(inputs, width) for inputs in shape.widths)
        self.linear_fuse = nn.Conv2d(len(shape.widths) * width, width, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(_DROPOUT)
        self.classifier = nn.Conv2d(width, class_count, 1)

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """The encoder's maps to logits at a quarter of the input's resolution."""
        projected = [
            F.interpolate(layer(x), scale_factor=2.0**stage, mode="bilinear", align_corners=False)
            if stage
            else layer(x)
            for stage, (layer, x) in enumerate(zip(self.linear_c, maps, strict=True))
        ]
        x = F.relu(self.batch_norm(self.linear_fuse(torch.cat(projected[::-1], 1))))
        logits: torch.Tensor = self.classifier(self.dropout(x))
        return logits


class SegFormer(nn.Module):
    """A segmenter: float ``[B,3,H,W]`` to logits ``[B,classes,H,W]``; both sides are multiples of `STRIDE`."""

    def __init__(self, class_count: int = 11, shape: SegFormerShape | None = None) -> None:
        super().__init__()
        if class_count < 1:
            raise UsageError(f"class count must be positive, received {class_count}")
        self.class_count, self.shape, self.stride = class_count, shape or SegFormerShape(), STRIDE
        self.segformer = _Backbone(self.shape)
        self.decode_head = _Decoder(self.shape, class_count)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        logits = self.decode_head(self.segformer.encoder(x))
        return F.interpolate(logits, scale_factor=4.0, mode="bilinear", align_corners=False)


def segformer_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> SegFormer:
    """The `SegFormer` with these weights, in eval mode; sizes and classes are read from names and shapes.

    Names of modules in memory of transformers 5 are accepted, too. Raises `CheckpointError` if the weights belong to
    another network.
    """
    tensors = {_of_checkpoints(name): tensor for name, tensor in tensors.items()}
    tensors = without_prefix(tensors, MARK)
    head = tensors.get("decode_head.classifier.weight")
    if head is None or head.ndim != 4 or MARK not in tensors:
        raise CheckpointError(
            f"not the weights of a SegFormer: expected {MARK} and decode_head.classifier.weight"
        )
    try:
        shape = _shape_of(tensors)
        model = _empty(head.shape[0], shape)
    except KeyError as error:
        raise CheckpointError(f"not the weights of a SegFormer: {error} is missing") from error
    except (IndexError, UsageError) as error:
        raise CheckpointError(f"not the weights of a SegFormer: {error}") from error
    assign_weights(model, tensors)
    return model.eval()


def _empty(class_count: int, shape: SegFormerShape) -> SegFormer:
    with torch.device("meta"):
        return SegFormer(class_count, shape)


MARK = "segformer.encoder.patch_embeddings.0.proj.weight"
"""A tensor by which the network is recognised."""


def is_segformer(tensors: Mapping[str, torch.Tensor]) -> bool:
    """True for a state dict with the network's names, under one prefix or none."""
    renamed = {_of_checkpoints(name): tensor for name, tensor in tensors.items()}
    found = without_prefix(renamed, MARK)
    return MARK in found and "decode_head.classifier.weight" in found


def _shape_of(tensors: Mapping[str, torch.Tensor]) -> SegFormerShape:
    encoder = "segformer.encoder"
    widths = tuple(
        tensors[f"{encoder}.patch_embeddings.{stage}.proj.weight"].shape[0] for stage in range(len(_HEADS))
    )
    depths = tuple(
        len({name.split(".")[4] for name in tensors if name.startswith(f"{encoder}.block.{stage}.")})
        for stage in range(len(_HEADS))
    )
    ratio = tensors[f"{encoder}.block.0.0.mlp.dense1.weight"].shape[0] // max(widths[0], 1)
    return SegFormerShape(widths, depths, ratio, tensors["decode_head.linear_fuse.weight"].shape[0])


_RENAMED = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"segformer\.stages\.(\d+)\.patch_embeddings\.", r"segformer.encoder.patch_embeddings.\1."),
        (r"segformer\.stages\.(\d+)\.blocks\.", r"segformer.encoder.block.\1."),
        (r"segformer\.stages\.(\d+)\.layer_norm\.", r"segformer.encoder.layer_norm.\1."),
        (r"\.layernorm_before\.", ".layer_norm_1."),
        (r"\.layernorm_after\.", ".layer_norm_2."),
        (r"\.attention\.q_proj\.", ".attention.self.query."),
        (r"\.attention\.k_proj\.", ".attention.self.key."),
        (r"\.attention\.v_proj\.", ".attention.self.value."),
        (r"\.attention\.o_proj\.", ".attention.output.dense."),
        (r"\.attention\.sequence_reduction\.sequence_reduction\.", ".attention.self.sr."),
        (r"\.attention\.sequence_reduction\.layer_norm\.", ".attention.self.layer_norm."),
        (r"\.mlp\.fc([12])\.", r".mlp.dense\1."),
        (r"decode_head\.linear_projections\.", "decode_head.linear_c."),
    )
)
"""Names of transformers 5 in memory, and those of its checkpoints."""


def _of_checkpoints(name: str) -> str:
    if "segformer.stages." not in name and "decode_head." not in name:
        return name
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name


def _tokens(x: torch.Tensor) -> torch.Tensor:
    """``[B,C,h,w]`` to ``[B,h*w,C]``."""
    return x.flatten(2).transpose(1, 2)


def _map(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """``[B,h*w,C]`` to ``[B,C,h,w]``."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], height, width)
