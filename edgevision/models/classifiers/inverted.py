"""Inverted residual blocks (arXiv 1801.04381, figure 4d), with squeeze-and-excitation (arXiv 1905.02244, figure 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from edgevision.models.classifiers.parts import EPS, Activation, SqueezeExcite, conv_norm


@dataclass(frozen=True, slots=True)
class BlockShape:
    """Channels and geometry of one block; `expands` is False for blocks without the first 1 x 1 convolution."""

    inputs: int
    hidden: int
    outputs: int
    kernel: int
    stride: int
    expands: bool = True
    squeezed: int = 0
    """Channels inside squeeze-and-excitation; 0: the block has none."""

    @property
    def adds(self) -> bool:
        """True if the block adds its input to its result."""
        return self.stride == 1 and self.inputs == self.outputs


@dataclass(frozen=True, slots=True)
class BlockActivations:
    """Activations of a block's convolutions and of its squeeze-and-excitation."""

    convolution: Activation
    squeeze: Activation = nn.ReLU
    gate: Activation = nn.Sigmoid


class InvertedResidual(nn.Module):
    """1 x 1 expansion, depthwise convolution, squeeze-and-excitation, 1 x 1 projection; the layers are in `block`."""

    def __init__(self, shape: BlockShape, kinds: BlockActivations, eps: float = EPS) -> None:
        super().__init__()
        self.adds = shape.adds
        act, hidden = kinds.convolution, shape.hidden
        layers: list[nn.Module] = []
        if shape.expands:
            layers.append(conv_norm(shape.inputs, hidden, activation=act, eps=eps))
        layers.append(conv_norm(hidden, hidden, shape.kernel, shape.stride, hidden, activation=act, eps=eps))
        if shape.squeezed:
            layers.append(SqueezeExcite(hidden, shape.squeezed, kinds.squeeze, kinds.gate))
        layers.append(conv_norm(hidden, shape.outputs, eps=eps))
        self.block = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        y: torch.Tensor = self.block(x)
        return x + y if self.adds else y


def timm_block(shape: BlockShape, theirs: str, ours: str) -> dict[str, str]:
    """Our layer names of an `InvertedResidual` by timm's, with the prefixes of both."""
    convs = ("conv_pw", "conv_dw", "conv_pwl") if shape.expands else ("conv_dw", "conv_pw")
    places = list(range(len(convs)))
    table: dict[str, str] = {}
    if shape.squeezed:
        place = places[-1]
        places[-1] += 1
        table |= {
            f"{theirs}.se.conv_reduce": f"{ours}.block.{place}.fc1",
            f"{theirs}.se.conv_expand": f"{ours}.block.{place}.fc2",
        }
    for number, (conv, place) in enumerate(zip(convs, places, strict=True), start=1):
        table[f"{theirs}.{conv}"] = f"{ours}.block.{place}.0"
        table[f"{theirs}.bn{number}"] = f"{ours}.block.{place}.1"
    return table


def numbered(stages: Iterable[tuple[BlockShape, ...]]) -> Iterator[tuple[int, int, BlockShape]]:
    """Each block with the numbers of its stage and of its place in it, from 0."""
    for stage, blocks in enumerate(stages):
        for place, block in enumerate(blocks):
            yield stage, place, block
