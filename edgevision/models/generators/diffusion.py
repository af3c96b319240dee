"""Class-conditional diffusion of small images: a U-Net and its two objectives. `sampler` makes images with it.

Images and noise are float32 ``[B,C,H,W]``; images inside the process lie in -1..1. Time runs from 1 (noise) to 0
(image).

| objective | noisy image at time t | the network predicts | sampling |
|---|---|---|---|
| `flow` | (1 - t) image + t noise (arXiv 2209.03003, 2210.02747) | noise - image | Adams-Bashforth; Euler |
| `ddpm` | cos(πt/2) image + sin(πt/2) noise (arXiv 2006.11239; schedule: 2102.09672) | noise | DDIM (2010.02502) |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

Objective = Literal["flow", "ddpm"]
OBJECTIVES: tuple[Objective, ...] = ("flow", "ddpm")
ADAMS_ORDER = 3
"""Predictions that each step of a flow's sampling combines; 1: Euler. DDIM's combine one."""

_TIMES = 32
"""Frequencies of the time embedding."""
_GROUPS = 8


class Conditional(Protocol):
    """A network with a condition: noisy values ``[B,C,H,W]``, times, labels and further maps to predictions."""

    classes: int

    def __call__(
        self, x: torch.Tensor, time: torch.Tensor, label: torch.Tensor, *given: torch.Tensor
    ) -> torch.Tensor:
        """Noisy values to predictions."""
        ...


class TimeEmbedding(nn.Module):
    """Times ``[B]`` or ``[1]`` in 0..1 and labels ``[B]`` to ``[B,width]``: sines (arXiv 1706.03762) and a table.

    With `vector`, a linear layer takes the place of the table, and labels are vectors float32 ``[B,classes]``.
    """

    def __init__(self, width: int, classes: int, *, vector: bool = False) -> None:
        super().__init__()
        self.frequencies: torch.Tensor
        frequencies = torch.exp(torch.linspace(0, math.log(1000.0), _TIMES))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.first = nn.Linear(2 * _TIMES, width)
        self.second = nn.Linear(width, width)
        self.label = nn.Linear(classes, width) if vector else nn.Embedding(classes + 1, width)

    def forward(self, time: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Times and labels to vectors."""
        angles = time[:, None] * self.frequencies
        waves = torch.cat((angles.sin(), angles.cos()), 1)
        return F.silu(self.second(F.silu(self.first(waves))) + self.label(label))


class Block(nn.Module):
    """Two 3 x 3 convolutions with a residual connection; the embedding scales and shifts between them."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(min(_GROUPS, inputs // 4), inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(width, 2 * outputs)
        self.norm2 = nn.GroupNorm(min(_GROUPS, outputs // 4), outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]  # the layer has a bias

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, 1)
        inner = self.conv1(F.silu(self.norm1(x)))
        inner = self.conv2(F.silu(self.norm2(inner) * (1 + scale) + shift))
        out: torch.Tensor = self.skip(x) + inner
        return out


class MapAttention(nn.Module):
    """Self-attention over all places of a map, with one head for each 32 channels and a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 32)
        self.norm = nn.GroupNorm(min(_GROUPS, channels // 4), channels)
        self.inputs = nn.Conv2d(channels, 3 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]  # the layer has a bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        channels, height, width = x.shape[1:]
        parts = self.inputs(self.norm(x)).reshape(-1, 3, self.heads, channels // self.heads, height * width)
        query, key, value = parts.transpose(3, 4).unbind(1)
        weights = (query @ key.transpose(2, 3) * (channels // self.heads) ** -0.5).softmax(-1)
        found = (weights @ value).transpose(2, 3).reshape(-1, channels, height, width)
        out: torch.Tensor = x + self.output(found)
        return out


class Denoiser(nn.Module):
    """A U-Net: noisy images ``[B,C,H,W]``, times ``[B]`` or ``[1]`` and labels int64 ``[B]`` to predictions.

    Label `classes` stands for no class. With `vector`, labels are vectors float32 ``[B,classes]`` and zeros stand for
    none. Further maps ``[B,given,H,W]`` may describe the image, such as its known pixels (`inpainting`). Sides must be
    multiples of 4. Most work is done at a half and a quarter of the resolution; the full one has a quarter of `width`
    channels. The objective, the size of the images of the training and the settings of the best sampling are buffers,
    so that weights are complete. Weights without `order` are sampled by Euler's method, and those without `interval`
    have guidance at all times.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 10,
        width: int = 48,
        objective: Objective = "flow",
        size: int = 28,
        given: int = 0,
        *,
        vector: bool = False,
    ) -> None:
        super().__init__()
        if channels < 1 or classes < 1 or width < 16 or width % 16 or size < 4 or size % 4:
            raise UsageError(
                "channels and classes must be positive, width a multiple of 16 and size one of 4; received"
                f" {channels}, {classes}, {width} and {size}"
            )
        self.channels, self.classes, self.width, self.given = channels, classes, width, given
        fine, coarse, embedded = width // 4, 2 * width, 2 * width
        self.embedding = TimeEmbedding(embedded, classes, vector=vector)
        self.stem = nn.Conv2d(channels + given, fine, 3, padding=1)
        self.down1 = nn.Conv2d(fine, width, 3, 2, 1)
        self.left = nn.ModuleList(Block(width, width, embedded) for _ in range(2))
        self.down2 = nn.Conv2d(width, coarse, 3, 2, 1)
        self.middle = nn.ModuleList(Block(coarse, coarse, embedded) for _ in range(3))
        self.attention = nn.ModuleList(MapAttention(coarse) for _ in range(2))
        self.up2 = nn.Conv2d(coarse, 4 * width, 1)
        self.right = nn.ModuleList((Block(2 * width, width, embedded), Block(width, width, embedded)))
        self.up1 = nn.Conv2d(width, 4 * fine, 1)
        self.detail = Block(2 * fine, fine, embedded)
        self.norm = nn.GroupNorm(min(_GROUPS, fine // 4), fine)
        self.last = nn.Conv2d(fine, channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]  # the layer has a bias
        self.kind: torch.Tensor
        self.register_buffer("kind", torch.tensor(OBJECTIVES.index(objective)))
        self.side: torch.Tensor
        self.register_buffer("side", torch.tensor(size))
        self.steps: torch.Tensor
        self.register_buffer("steps", torch.tensor(10))
        self.guidance: torch.Tensor
        self.register_buffer("guidance", torch.tensor(1.0))
        self.interval: torch.Tensor
        self.register_buffer("interval", torch.tensor([0.0, 1.0]))
        self.order: torch.Tensor
        self.register_buffer("order", torch.tensor(ADAMS_ORDER if objective == "flow" else 1))

    def keep_sampling(self, steps: int, guidance: float, interval: tuple[float, float] = (0.0, 1.0)) -> None:
        """Store the settings of the best sampling in the weights: `sampler.schedule_of`."""
        self.steps.fill_(steps)
        self.guidance.fill_(guidance)
        self.interval.copy_(torch.tensor(interval))

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Shape of one image of the training."""
        return (self.channels, int(self.side), int(self.side))

    @property
    def objective(self) -> Objective:
        """What the network predicts."""
        return OBJECTIVES[int(self.kind)]

    def forward(
        self, x: torch.Tensor, time: torch.Tensor, label: torch.Tensor, given: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Noisy images to predictions."""
        embedding = self.embedding(time, label)
        fine = self.stem(x if given is None else torch.cat((x, given), 1))
        half = self.down1(fine)
        for block in self.left:
            half = block(half, embedding)
        quarter = self.down2(half)
        for place, block in enumerate(self.middle):
            quarter = block(quarter, embedding)
            if place < len(self.attention):
                quarter = self.attention[place](quarter)
        merged = torch.cat((half, F.pixel_shuffle(self.up2(quarter), 2)), 1)
        for block in self.right:
            merged = block(merged, embedding)
        detail = self.detail(torch.cat((fine, F.pixel_shuffle(self.up1(merged), 2)), 1), embedding)
        out: torch.Tensor = self.last(F.silu(self.norm(detail)))
        return out


def noisy(
    images: torch.Tensor, noise: torch.Tensor, time: torch.Tensor, objective: Objective
) -> tuple[torch.Tensor, torch.Tensor]:
    """The noisy images at times ``[B]``, and what a network of the objective must predict from them."""
    time = time.view(-1, 1, 1, 1)
    if objective == "flow":
        return (1 - time) * images + time * noise, noise - images
    return (time * math.pi / 2).cos() * images + (time * math.pi / 2).sin() * noise, noise


def denoiser_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> Denoiser:
    """The `Denoiser` with these weights, in eval mode; its sizes are read from the shapes.

    Raises `CheckpointError` if the weights belong to another network.
    """
    tensors = without_prefix(tensors, "stem.weight")
    names = ("stem.weight", "down1.weight", "last.weight", "embedding.label.weight")
    stem, down, last, label = (tensors.get(name) for name in names)
    if stem is None or down is None or last is None or label is None or stem.ndim != 4:
        raise CheckpointError(f"not the weights of a Denoiser: expected {', '.join(names)}")
    channels, vector = last.shape[0], "embedding.label.bias" in tensors
    classes = label.shape[1] if vector else label.shape[0] - 1
    given = max(0, stem.shape[1] - channels)
    return assigned(Denoiser(channels, classes, down.shape[0], given=given, vector=vector), tensors)


def assigned(model: Denoiser, tensors: Mapping[str, torch.Tensor]) -> Denoiser:
    """The model with these weights, in eval mode; raises `CheckpointError` for settings out of range, too."""
    assign_weights(model, {"order": torch.tensor(1), "interval": torch.tensor([0.0, 1.0]), **tensors})
    if not 0 <= int(model.kind) < len(OBJECTIVES):
        raise CheckpointError(f"kind is {int(model.kind)}; expected a number below {len(OBJECTIVES)}")
    if not 1 <= int(model.order) <= ADAMS_ORDER:
        raise CheckpointError(f"order is {int(model.order)}; expected 1 to {ADAMS_ORDER}")
    return model.eval()
