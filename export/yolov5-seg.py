"""YOLOv5 v7.0's instance segmentation models, any size: all is read from the checkpoint.

Official checkpoints (yolov5n-seg.pt to yolov5x-seg.pt) were trained on COCO train2017 (80 classes, 640 px).
Architecture and training are Ultralytics' work (AGPL-3.0); the network here is written from its description.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision.graph.preprocess import PixelFormat
from edgevision.models.plan import InstancePlan
from edgevision.models.recipe import Recipe, SourceModel

if TYPE_CHECKING:
    from edgevision.checkpoint.reading import Checkpoint


def load(checkpoint: Path) -> SourceModel:
    """Rebuild the network from an official pickle, or from a state dict with its parameter names."""
    from edgevision.checkpoint.reading import read_checkpoint
    from edgevision.export.sources import yolov5_seg_source
    from edgevision.models.yolov5.model import yolov5_from_checkpoint

    return yolov5_seg_source(yolov5_from_checkpoint(read_checkpoint(checkpoint)))


def untrained() -> SourceModel:
    """YOLOv5n-seg, 80 classes."""
    import torch

    from edgevision.export.sources import randomize_statistics, yolov5_seg_source
    from edgevision.models.yolov5.model import PUBLISHED_MASKS, yolov5

    torch.manual_seed(0)
    return yolov5_seg_source(randomize_statistics(yolov5("n", class_count=80, mask_count=PUBLISHED_MASKS)))


def recognises(checkpoint: Checkpoint) -> bool:
    """True for YOLOv5's pickles and state dicts with masks."""
    from edgevision.models.yolov5.model import yolov5_task

    return yolov5_task(checkpoint) == "instances"


RECIPE = Recipe(
    name="yolov5-seg",
    task="instances",
    summary="YOLOv5 v7.0 instance segmentation, sizes n to x, trained on COCO or on your own classes",
    size_wh=(640, 640),
    stride=32,
    pixels=PixelFormat(order="rgb", scale=1 / 255),
    fit="letterbox",
    load=load,
    untrained=untrained,
    recognises=recognises,
    training=InstancePlan(),
)
