"""Small generators as recipes, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.module_recipe import ModuleRecipe
from edgevision.models.recipe import Recipe

SIDE = 28
CLASSES = tuple(map(str, range(10)))
UNIT = PixelFormat("rgb")
SIGNED = PixelFormat("rgb", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""Of a network that ends in Tanh."""


class Digits(nn.Module):
    """A DCGAN-shaped network; its weights are scaled so that images have contrast."""

    def __init__(self, channels: int = 1, *, conditional: bool = True, tanh: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.of_label = nn.Embedding(len(CLASSES), 16) if conditional else None
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(32 if conditional else 16, 24, 7),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.ConvTranspose2d(24, 12, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(12, channels, 4, 2, 1),
            nn.Tanh() if tanh else nn.Sigmoid(),
        )
        for weights in self.parameters():
            weights.data *= 3

    def forward(self, noise: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        if self.of_label is not None:
            assert label is not None
            noise = torch.cat((noise, self.of_label(label)[:, :, None, None]), 1)
        images: torch.Tensor = self.layers(noise)
        return images


class Sampler(nn.Module):
    """Rectified flow in four Euler steps, unrolled: the image itself is the noise of its size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.of_label = nn.Embedding(len(CLASSES), 8)
        self.velocity = nn.Sequential(
            nn.Conv2d(12, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 3, 3, padding=1)
        )

    def forward(self, noise: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        x, steps = noise, 4
        maps = self.of_label(label)[:, :, None, None].expand(-1, -1, *noise.shape[2:])
        for step in range(steps):
            time = torch.full_like(x[:, :1], step / steps)
            x = x + self.velocity(torch.cat((x, maps, time), 1)) / steps
        return (x * 0.2 + 0.5).clamp(0, 1)


def recipe_of(module: nn.Module | Any, noise_shape: tuple[int, ...] = (16, 1, 1), **given: Any) -> Recipe:
    """The recipe of a module, as a user's file gives it."""
    made = ModuleRecipe(task="generate", module=lambda: module, noise_shape=noise_shape, **given)
    return made.recipe(Path("tiny.py"))
