"""The detection heads that `adopt` supports, with their default pixel formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgevision.contract.spec import Fit, Task
from edgevision.graph.heads import (
    classifier,
    end2end,
    end2end_obb,
    end2end_pose,
    fastestdet,
    yolov5,
    yolov8,
    yolov8_obb,
    yolov8_pose,
    yolox,
)
from edgevision.graph.heads.head import DetectionHead, NetworkFacts
from edgevision.graph.preprocess import PixelFormat


@dataclass(frozen=True, slots=True)
class Convention:
    """Defaults of a detection head."""

    expected: str
    """Description of the outputs."""
    recognise: Callable[[NetworkFacts], DetectionHead | None]
    """The head if the shapes of the outputs match."""
    doubt: Callable[[NetworkFacts], str | None]
    """Why a network with such shapes probably has another head; called only if they match."""
    pixels: PixelFormat
    fit: Fit = "letterbox"
    task: Task = "detect"


DETECTORS: dict[str, Convention] = {
    "yolov5": Convention(yolov5.EXPECTED, yolov5.recognise, yolov5.doubt, PixelFormat("rgb")),
    "yolov8": Convention(yolov8.EXPECTED, yolov8.recognise, yolov8.doubt, PixelFormat("rgb")),
    # Its authors pad at the right and bottom. Centred padding is equivalent for a convolutional network: 28.5 and 28.6
    # AP for YOLOX-Nano on 220 images of COCO.
    "yolox": Convention(yolox.EXPECTED, yolox.recognise, yolox.doubt, PixelFormat("bgr", 1.0)),
    "fastestdet": Convention(
        fastestdet.EXPECTED, fastestdet.recognise, fastestdet.doubt, PixelFormat("bgr"), "stretch"
    ),
    "end2end": Convention(end2end.EXPECTED, end2end.recognise, end2end.doubt, PixelFormat("rgb")),
    "yolov8-pose": Convention(
        yolov8_pose.EXPECTED, yolov8_pose.recognise, yolov8_pose.doubt, PixelFormat("rgb"), task="pose"
    ),
    "yolov8-obb": Convention(
        yolov8_obb.EXPECTED, yolov8_obb.recognise, yolov8_obb.doubt, PixelFormat("rgb"), task="obb"
    ),
    "end2end-pose": Convention(
        end2end_pose.EXPECTED, end2end_pose.recognise, end2end_pose.doubt, PixelFormat("rgb"), task="pose"
    ),
    "end2end-obb": Convention(
        end2end_obb.EXPECTED, end2end_obb.recognise, end2end_obb.doubt, PixelFormat("rgb"), task="obb"
    ),
}

CLASSIFIER = "classifier"
IMAGENET_PIXELS = PixelFormat("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
IMAGENET_CROP = 0.875

HEADS = (*DETECTORS, CLASSIFIER)

TASKS: dict[str, tuple[str, ...]] = {
    task: tuple(name for name, convention in DETECTORS.items() if convention.task == task)
    for task in ("detect", "pose", "obb")
} | {"classify": (CLASSIFIER,)}
"""Heads for each task that Ultralytics' exports name in their metadata."""


def expected_outputs(head: str) -> str:
    """Description of the outputs that a head takes."""
    return classifier.EXPECTED if head == CLASSIFIER else DETECTORS[head].expected


def known_heads() -> str:
    """All heads with their expected outputs, one on each line."""
    return "\n".join(f"  {name}: {expected_outputs(name)}" for name in HEADS)
