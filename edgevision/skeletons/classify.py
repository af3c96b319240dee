"""my_model: a classifier.

Replace `Network` with your network, and the body of `network` with code that loads its weights. Then run:
pytest test_my_model.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgevision.models.module_recipe import ModuleRecipe, PixelFormat

CLASSES = ("cat", "dog", "other")


class Network(nn.Module):
    """Convolutions, their mean over the image, and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 4, stride=4), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=4), nn.ReLU()
        )
        self.classifier = nn.Linear(32, len(CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 [B, 3, H, W] to logits [B, C]."""
        maps: torch.Tensor = self.features(images)
        logits: torch.Tensor = self.classifier(maps.mean((2, 3)))
        return logits


def network(checkpoint: Path | None) -> nn.Module:
    """The network with the weights of --checkpoint; without the option, random ones."""
    torch.manual_seed(0)
    model = Network()
    if checkpoint is not None:
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
    return model


RECIPE = ModuleRecipe(
    task="classify",
    module=network,
    size_wh=(128, 128),  # width and height of the network's input
    # As in training: (value * scale - mean) / std. Verification does not detect a wrong format.
    pixels=PixelFormat("rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    classes=CLASSES,
    fit="center-crop",  # the shorter side is scaled to the input, the longer one is cropped
)
