"""Features of a detector's backbone, by which style and content of images are compared."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import edgevision
from edgevision.checkpoint.reading import read_run
from edgevision.errors import CheckpointError
from edgevision.models.yolov5.model import yolov5_from_checkpoint

INCLUDED = Path(edgevision.__file__).parent / "weights" / "street.safetensors"
"""Recipe `yolov5`: the included detector."""
_TAPS = (0, 2, 4, 6)
"""Layers whose outputs are features: at 1/2, 1/4, 1/8 and 1/16 of the image's size."""
CONTENT = 2
"""The place among the features of those that content is compared by."""


class Perception(nn.Module):
    """Images ``[B,3,H,W]`` RGB in 0..1 to features ``[B,C,h,w]`` of a YOLOv5 backbone, from fine to coarse."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers[: _TAPS[-1] + 1]).eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The features of each tapped layer."""
        found = []
        for place, layer in enumerate(self.layers):
            x = layer(x)
            if place in _TAPS:
                found.append(x)
        return found


def read_perception(path: Path | None) -> Perception:
    """The backbone of a run folder or a checkpoint of recipe `yolov5`; None: the included one.

    Raises `CheckpointError`.
    """
    path = path or INCLUDED
    try:
        model = yolov5_from_checkpoint(read_run(path))
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} does not hold a detector whose features compare images: {error}; train one with"
            " `edgevision train yolov5`"
        ) from error
    return Perception(list(model.fuse().model))


def statistics(images: torch.Tensor, features: list[torch.Tensor]) -> list[torch.Tensor]:
    """Matrices ``[B,C,C]`` that describe a style: means of products of channels (Gram matrices, arXiv 1508.06576).

    The first is that of the colours and the constant 1, which contains their means; one for each of the features
    follows.
    """
    colours = torch.cat((images, torch.ones_like(images[:, :1])), 1)
    return [gram(part) for part in (colours, *features)]


def gram(features: torch.Tensor) -> torch.Tensor:
    """``[B,C,h,w]`` to ``[B,C,C]``: the mean over all places of the products of two channels."""
    flat = features.flatten(2)
    return flat @ flat.mT / flat.shape[2]
