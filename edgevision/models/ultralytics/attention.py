"""Attention over the pixels of a map, as in YOLOv10, 11, 12 and 26, with their checkpoints' parameter names.

Maps are float ``[B,C,h,w]``.
"""

from __future__ import annotations

import torch
from torch import nn


def _size(x: torch.Tensor) -> tuple[int, int]:
    """Height and width as plain integers: an exported network has a fixed size."""
    return int(x.shape[2]), int(x.shape[3])


def _attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    """Scaled dot-product attention (arXiv 1706.03762, section 3.2.1) of values ``[B,heads,dims,pixels]``."""
    weights = ((q * scale).transpose(-2, -1) @ k).softmax(-1)
    return v @ weights.transpose(-2, -1)


class Attention(nn.Module):
    """Self-attention with keys of `key_dim` of a head's `head_dim` values, and a depthwise convolution as position.

    Source: YOLOv10, arXiv 2405.14458, section 3.2.
    """

    def __init__(
        self, qkv: nn.Module, proj: nn.Module, pe: nn.Module, *, heads: int, key_dim: int, head_dim: int
    ) -> None:
        super().__init__()
        self.qkv = qkv
        self.proj = proj
        self.pe = pe
        self.heads, self.key_dim, self.head_dim = heads, key_dim, head_dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        height, width = _size(x)
        sizes = (self.key_dim, self.key_dim, self.head_dim)
        values = self.qkv(x).reshape(-1, self.heads, sum(sizes), height * width)
        q, k, v = values.split(sizes, 2)
        shape = (-1, self.heads * self.head_dim, height, width)
        out = _attended(q, k, v, self.key_dim**-0.5).reshape(shape)
        mixed: torch.Tensor = self.proj(out + self.pe(v.reshape(shape)))
        return mixed


class AreaAttention(nn.Module):
    """AAttn of YOLO12 (arXiv 2502.12524, section 3.2): attention inside each of `area` bands of rows."""

    def __init__(
        self, qkv: nn.Module, proj: nn.Module, pe: nn.Module, *, heads: int, head_dim: int, area: int
    ) -> None:
        super().__init__()
        self.qkv = qkv
        self.proj = proj
        self.pe = pe
        self.heads, self.head_dim, self.area = heads, head_dim, area

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map; the number of its pixels must be a multiple of `area`."""
        height, width = _size(x)
        heads, dims, area = self.heads, self.head_dim, self.area
        values = self.qkv(x).reshape(-1, heads, 3 * dims, height * width)
        v = values[:, :, 2 * dims :].reshape(-1, heads * dims, height, width)
        if area > 1:
            values = values.reshape(-1, heads, 3 * dims, area, height * width // area)
            values = values.permute(0, 3, 1, 2, 4).reshape(-1, area * heads, 3 * dims, height * width // area)
        q, k, each = values.split((dims, dims, dims), 2)
        out = _attended(q, k, each, dims**-0.5)
        if area > 1:
            out = out.reshape(-1, area, heads, dims, height * width // area).permute(0, 2, 3, 1, 4)
        mixed: torch.Tensor = self.proj(out.reshape(-1, heads * dims, height, width) + self.pe(v))
        return mixed


class AttentionBlock(nn.Module):
    """PSABlock and ABlock: attention, then two 1 x 1 convolutions, each with a shortcut if `add`.

    `feed` is the name of the convolutions in the file: "ffn" or "mlp".
    """

    def __init__(self, attn: nn.Module, feed: str, layers: nn.Module, *, add: bool = True) -> None:
        super().__init__()
        self.attn = attn
        self.feed = feed
        self.add_module(feed, layers)
        self.add = add

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        y: torch.Tensor = self.attn(x)
        x = x + y if self.add else y
        y = self.get_submodule(self.feed)(x)
        return x + y if self.add else y


class Psa(nn.Module):
    """PSA of YOLOv10 (arXiv 2405.14458, figure 3): attention over one half of the channels."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module, attn: nn.Module, ffn: nn.Module) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.attn = attn
        self.ffn = ffn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        a, b = self.cv1(x).chunk(2, 1)
        b = b + self.attn(b)
        b = b + self.ffn(b)
        out: torch.Tensor = self.cv2(torch.cat((a, b), 1))
        return out


class AreaChain(nn.Module):
    """A2C2f of YOLO12: `cv1` and each run of the chain `m`, joined for `cv2`.

    With `gamma_length`, the output is scaled by that many learned factors and added to the input.
    """

    def __init__(self, cv1: nn.Module, cv2: nn.Module, m: nn.ModuleList, gamma_length: int) -> None:
        super().__init__()
        self.cv1 = cv1
        self.cv2 = cv2
        self.m = m
        if gamma_length:
            self.gamma = nn.Parameter(torch.zeros(gamma_length))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        parts = [self.cv1(x)]
        for link in self.m:
            parts.append(link(parts[-1]))
        out: torch.Tensor = self.cv2(torch.cat(parts, 1))
        return x + self.gamma.view(1, -1, 1, 1) * out if "gamma" in self._parameters else out
