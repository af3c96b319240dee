"""my_model: image to image.

Replace `Network` with your network, and the body of `network` with code that loads its weights. Then run:
pytest test_my_model.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgevision.models.module_recipe import ModuleRecipe, PixelFormat


class Network(nn.Module):
    """An image of twice the input's width and height."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 12, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 [B, 3, H, W] to images [B, 3, h, w] of any size."""
        made: torch.Tensor = self.layers(images)
        return made


def network(checkpoint: Path | None) -> nn.Module:
    """The network with the weights of --checkpoint; without the option, random ones."""
    torch.manual_seed(0)
    model = Network()
    if checkpoint is not None:
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
    return model


RECIPE = ModuleRecipe(
    task="translate",
    module=network,
    size_wh=(128, 96),  # width and height of the network's input; export --size chooses another one
    # As in training: (value * scale - mean) / std. Verification does not detect a wrong format.
    pixels=PixelFormat("rgb", scale=1 / 255),
    image_pixels=PixelFormat("rgb", scale=1 / 255),  # of the image that the network returns
)
