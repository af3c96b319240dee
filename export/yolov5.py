"""YOLOv5 v6.0 to v7.0, any size: width, depth, classes, anchors and names are read from the checkpoint.

Official checkpoints were trained on COCO train2017 (80 classes, 640 px). Architecture and training are Ultralytics'
work (AGPL-3.0); the network here is written from its description.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import DetectorPlan
from edgevision.models.recipe import Recipe, Release, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network from an official pickle, or from a state dict with its parameter names."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.export.sources import yolov5_source
    from edgevision.models.yolov5.model import yolov5_from_checkpoint

    return yolov5_source(yolov5_from_checkpoint(read_checkpoint(checkpoint)))


def untrained() -> SourceModel:
    """YOLOv5n, 80 classes."""
    import torch

    from edgevision.export.sources import randomize_statistics, yolov5_source
    from edgevision.models.yolov5.model import yolov5

    torch.manual_seed(0)
    return yolov5_source(randomize_statistics(yolov5("n", class_count=80)))


def recognises(checkpoint: Checkpoint) -> bool:
    """True for YOLOv5's pickles and state dicts without masks."""
    from edgevision.models.yolov5.model import yolov5_task

    return yolov5_task(checkpoint) == "detect"


RECIPE = Recipe(
    name="yolov5",
    task="detect",
    summary="YOLOv5 v6.0 to v7.0 detection, sizes n to x, trained on COCO or on your own classes",
    size_wh=(640, 640),
    stride=32,
    pixels=PixelFormat(order="rgb", scale=1 / 255),
    fit="letterbox",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=DetectorPlan(),
    release=Release(
        file="yolov5n.pt",
        url="https://github.com/ultralytics/yolov5/releases/download/v7.0/yolov5n.pt",
        sha256="4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3",
        licence="AGPL-3.0",
    ),
)
