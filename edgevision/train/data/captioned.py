"""Rendered digits with captions: shapes in memory, colours and wordings drawn with each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from edgevision.datasets.captions import (
    SLANTS,
    THICKNESSES,
    Attributes,
    Colour,
    random_attributes,
    random_caption,
)
from edgevision.datasets.rendering import LARGE, coloured, random_colour, random_shape, reduced
from edgevision.models.generators.words import tokens_of_texts
from edgevision.models.plan import Text2ImagePlan
from edgevision.train.data.image_arrays import ImageArrays

Stage = Literal["encoder", "prior", "upsampler", "decoder"]
STAGES: tuple[Stage, ...] = ("encoder", "prior", "upsampler", "decoder")
_PAIRS = 6
"""Pairs of colours in a batch of the encoder: only their shapes distinguish images of one pair."""
_RENDERINGS = 2
"""Renderings of each digit in a batch of the encoder."""


def stage_ends(plan: Text2ImagePlan) -> tuple[float, ...]:
    """Shares of the training at which the stages end."""
    lengths = (plan.encoder, plan.prior, plan.upsampler)
    return (*(float(end) for end in np.cumsum(lengths)), 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class CaptionBatch:
    """`small` float32 ``[B,3,28,28]`` in -1..1, `tokens` int64 ``[B,L]``; `large` ``[B,3,56,56]`` for the upsampler."""

    stage: Stage
    small: torch.Tensor
    tokens: torch.Tensor
    large: torch.Tensor | None = None

    def to(self, device: torch.device) -> CaptionBatch:
        """The batch on a device."""
        large = None if self.large is None else self.large.to(device, non_blocking=True)
        return CaptionBatch(
            self.stage,
            self.small.to(device, non_blocking=True),
            self.tokens.to(device, non_blocking=True),
            large,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ShapedDigits:
    """Shapes uint8 ``[N,V,56,56]``, their thickness and slant ``[N,V]`` as places in the names, and labels ``[N]``."""

    shapes: npt.NDArray[np.uint8]
    thickness: npt.NDArray[np.uint8]
    slant: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.shapes)


def shaped_digits(data: ImageArrays, variants: int, seed: int) -> ShapedDigits:
    """Render `variants` random shapes of each digit; digits without ink are left out."""
    inked = np.flatnonzero(data.images.reshape(len(data), -1).any(1))
    shapes = np.empty((len(inked), variants, LARGE, LARGE), np.uint8)
    rng = np.random.default_rng(seed)
    thickness = rng.integers(len(THICKNESSES), size=shapes.shape[:2], dtype=np.uint8)
    slant = rng.integers(len(SLANTS), size=shapes.shape[:2], dtype=np.uint8)
    for place, index in enumerate(inked):
        for variant in range(variants):
            names = THICKNESSES[thickness[place, variant]], SLANTS[slant[place, variant]]
            shapes[place, variant] = random_shape(data.images[index, 0], *names, rng)
    return ShapedDigits(shapes, thickness, slant, data.labels[inked])


class CaptionDrawer:
    """Draws batches of the stage at the present share of the training."""

    def __init__(self, data: ShapedDigits, plan: Text2ImagePlan) -> None:
        self.data, self.ends = data, stage_ends(plan)

    def __call__(
        self, indices: list[int], generators: list[np.random.Generator], share: float
    ) -> CaptionBatch:
        """One rendering for each index, from its own generator; several, of few colours, for the encoder."""
        stage = STAGES[min(sum(share >= end for end in self.ends), len(STAGES) - 1)]
        renderings, pairs = 1, None
        if stage == "encoder":
            renderings = _RENDERINGS
            pairs = [_colours(random_attributes(0, generators[0])) for _ in range(_PAIRS)]
        shapes, texts = [], []
        for index, rng in zip(indices, generators, strict=True):
            for _ in range(renderings):
                image, attributes = self.drawn(index, rng, pairs)
                shapes.append(image)
                texts.append(random_caption(attributes, rng))
        tokens = torch.from_numpy(tokens_of_texts(texts)).long()
        large = tensor_of(np.stack(shapes)) if stage == "upsampler" else None
        return CaptionBatch(stage, tensor_of(np.stack([reduced(one) for one in shapes])), tokens, large)

    def drawn(
        self, index: int, rng: np.random.Generator, pairs: list[tuple[Colour, Colour]] | None = None
    ) -> tuple[npt.NDArray[np.uint8], Attributes]:
        """A large image uint8 ``[56,56,3]`` RGB of a digit, and its attributes."""
        data, variant = self.data, int(rng.integers(self.data.shapes.shape[1]))
        ink, paper = _colours(random_attributes(0, rng)) if pairs is None else pairs[rng.integers(len(pairs))]
        attributes = Attributes(
            int(data.labels[index]),
            THICKNESSES[data.thickness[index, variant]],
            SLANTS[data.slant[index, variant]],
            ink,
            paper,
        )
        colours = random_colour(ink, rng), random_colour(paper, rng)
        return coloured(data.shapes[index, variant], *colours), attributes


def tensor_of(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Images uint8 ``[B,H,W,3]`` RGB as float32 ``[B,3,H,W]`` in -1..1, channels last."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _colours(attributes: Attributes) -> tuple[Colour, Colour]:
    return attributes.ink, attributes.paper
