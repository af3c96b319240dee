"""my_model: images from noise, of a class.

Replace `Network` with your network, and the body of `network` with code that loads its weights. Then run:
pytest test_my_model.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgevision.models.module_recipe import ModuleRecipe, PixelFormat

CLASSES = ("stripes", "dots")


class Network(nn.Module):
    """An image of 32x32 pixels from noise and a class."""

    def __init__(self) -> None:
        super().__init__()
        self.of_label = nn.Embedding(len(CLASSES), 16)
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(32, 32, 8),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 3, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, noise: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Noise float32 [B, 16, 1, 1] and labels int64 [B] to images [B, 3, h, w]; without CLASSES, noise alone."""
        given = torch.cat((noise, self.of_label(label)[:, :, None, None]), 1)
        images: torch.Tensor = self.layers(given)
        return images


def network(checkpoint: Path | None) -> nn.Module:
    """The network with the weights of --checkpoint; without the option, random ones."""
    torch.manual_seed(0)
    model = Network()
    if checkpoint is not None:
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
    return model


RECIPE = ModuleRecipe(
    task="generate",
    module=network,
    noise_shape=(16, 1, 1),  # of the noise for one image; all random numbers of the network are taken from it
    classes=CLASSES,  # in the order of the labels; remove it for a network that takes noise alone
    # Of the image that the network returns: (value * scale - mean) / std. Of -1 to 1: mean and std of 0.5 each.
    image_pixels=PixelFormat("rgb", scale=1 / 255),
)
