"""ResNet 18, 34 and 50 (arXiv 1512.03385), with torchvision's parameter names; the checkpoint says which.

Torchvision's checkpoints were trained on ImageNet-1k at 224 px: scaled to 256 on the shorter side, centre-cropped, RGB
normalised by ImageNet's mean and deviation.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import ClassifierPlan
from edgevision.models.recipe import Recipe, Release, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.resnet import ResNet


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.resnet import resnet_from_state_dict

    found = read_checkpoint(checkpoint)
    return _source_model(resnet_from_state_dict(found.tensors), found.class_names)


def untrained() -> SourceModel:
    """ResNet-18, 1,000 classes."""
    import torch

    from edgevision.models.resnet import resnet

    torch.manual_seed(0)
    return _source_model(resnet(18, class_count=1000))


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names."""
    from edgevision.models.weights import holds

    return checkpoint.module is None and holds(
        checkpoint.tensors, "fc.weight", "conv1.weight", "layer1.0.conv1.weight"
    )


def _source_model(model: ResNet, names: tuple[str, ...] = ()) -> SourceModel:
    from edgevision.export.sources import source_with_names

    return source_with_names(
        model, f"ResNet-{model.depth}, {model.class_count} classes", model.class_count, names
    )


RECIPE = Recipe(
    name="resnet",
    task="classify",
    summary="ResNet 18, 34, 50 classification, ImageNet weights of torchvision or your own",
    size_wh=(224, 224),
    stride=32,
    pixels=PixelFormat(order="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    fit="center-crop",
    crop_fraction=224 / 256,
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=ClassifierPlan(model="resnet18", size=224),
    release=Release(
        file="resnet18-f37072fd.pth",
        url="https://download.pytorch.org/models/resnet18-f37072fd.pth",
        sha256="f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        licence="BSD-3-Clause",
    ),
)
