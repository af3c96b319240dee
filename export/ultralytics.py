"""Checkpoints of the Ultralytics package: YOLOv8 to YOLO26, and YOLOv3, v5 and v6 in that form.

Architecture, task (detect, segment, classify, pose, oriented boxes), classes, keypoints, strides and head are read from
the checkpoint. Official ones were trained on COCO (80 classes, 640 px), ImageNet (1,000 classes, 224 px) or DOTA (15
classes, 1,024 px). Architectures and training are Ultralytics' and other authors' work (AGPL-3.0); the networks here
are written from their descriptions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network of a pickled model."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.export.ultralytics_source import source_from_checkpoint

    return source_from_checkpoint(read_checkpoint(checkpoint))


def untrained() -> SourceModel:
    """YOLOv8n, 80 classes."""
    import torch

    from edgevision.export.ultralytics_source import source_of, with_random_statistics
    from edgevision.models.ultralytics.plan import yolov8n

    torch.manual_seed(0)
    return source_of(with_random_statistics(yolov8n(class_count=80)))


def recognises(checkpoint: Checkpoint) -> bool:
    """True for a pickled model of the package."""
    from edgevision.models.ultralytics.model import is_ultralytics

    return is_ultralytics(checkpoint)


RECIPE = Recipe(
    name="ultralytics",
    task="detect",
    summary="YOLOv8, v9, v10, 11, 12, 26 of the Ultralytics package: detect, segment, classify, pose, obb",
    size_wh=(640, 640),
    stride=32,
    pixels=PixelFormat(order="rgb", scale=1 / 255),
    fit="letterbox",
    load=load,
    untrained=untrained,
    recognises=recognises,
)
