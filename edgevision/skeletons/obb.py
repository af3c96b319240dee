"""my_model: an oriented-box detector.

Replace `Network` with your network, and the body of `network` with code that loads its weights. Then run:
pytest test_my_model.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgevision.models.module_recipe import ModuleRecipe, PixelFormat

CLASSES = ("ship", "plane")
STRIDE = 16
"""Pixels of a cell; each cell predicts one box."""


class Network(nn.Module):
    """One oriented box for each cell of 16 x 16 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 4, stride=4), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=4), nn.ReLU()
        )
        self.head = nn.Conv2d(32, 5 + len(CLASSES), 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Images float32 [B, 3, H, W] to boxes [B, N, 5], x y w h in input pixels and radians, and scores [B, N, C]."""
        maps: torch.Tensor = self.head(self.features(images))
        y, x = torch.meshgrid(torch.arange(maps.shape[2]), torch.arange(maps.shape[3]), indexing="ij")
        cells = torch.stack((x.flatten(), y.flatten()), 1) + 0.5
        values = maps.flatten(2).transpose(1, 2)  # [B, N, channels], N cells
        centres = (cells + values[..., :2].tanh()) * STRIDE
        sizes = values[..., 2:4].exp() * STRIDE
        boxes = torch.cat((centres, sizes, values[..., 4:5]), 2)
        return boxes, values[..., 5:].sigmoid()


def network(checkpoint: Path | None) -> nn.Module:
    """The network with the weights of --checkpoint; without the option, random ones."""
    torch.manual_seed(0)
    model = Network()
    if checkpoint is not None:
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
    return model


RECIPE = ModuleRecipe(
    task="obb",
    module=network,
    size_wh=(128, 96),  # width and height of the network's input
    # As in training: (value * scale - mean) / std. Verification does not detect a wrong format.
    pixels=PixelFormat("rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    classes=CLASSES,
)
