"""SegFormer-B0 to B5 (arXiv 2105.15203) for semantic segmentation, with the parameter names of transformers.

Published checkpoints expect ImageNet's mean and deviation. transformers stretches images to 512x512 or 1024x1024;
letterboxing keeps their shape instead, as in training here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import SegmenterPlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint
    from edgevision.models.segformer import SegFormer


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network that the state dict's shapes describe."""
    from edgevision.checkpoint.config_beside import config_beside, label_names
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.models.segformer import segformer_from_state_dict

    found = read_checkpoint(checkpoint)
    model = segformer_from_state_dict(found.tensors)
    names = found.class_names or label_names(config_beside(checkpoint), model.class_count)
    return _source_model(model, names)


def untrained() -> SourceModel:
    """SegFormer-B0, eleven classes."""
    import torch

    from edgevision.models.segformer import SegFormer

    torch.manual_seed(0)
    return _source_model(SegFormer(class_count=11))


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a state dict with the network's names."""
    from edgevision.models.segformer import is_segformer

    return checkpoint.module is None and is_segformer(checkpoint.tensors)


def _source_model(model: SegFormer, names: tuple[str, ...] = ()) -> SourceModel:
    from edgevision.export.sources import source_with_names

    return source_with_names(
        model, f"{model.shape.name}, {model.class_count} classes", model.class_count, names
    )


RECIPE = Recipe(
    name="segformer",
    task="segment",
    summary="SegFormer-B0 to B5 semantic segmentation, weights of transformers or trained on your masks",
    size_wh=(512, 512),
    stride=32,
    pixels=PixelFormat(order="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    fit="letterbox",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=SegmenterPlan(model="segformer"),
)
