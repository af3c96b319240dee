"""The detection heads that `adopt` supports, with their default pixel formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgevision.contract.spec import Fit, Task
from edgevision.graph.foreign import images
from edgevision.graph.heads import (
    classifier,
    end2end,
    end2end_obb,
    end2end_pose,
    segmenter,
    yolov5,
    yolov8,
    yolov8_obb,
    yolov8_pose,
    yolox,
)
from edgevision.graph.heads.cells import (
    damoyolo,
    fastestdet,
    nanodet,
    picodet,
    ppyoloe,
    ssd,
    tensorrtnms,
    yolonas,
    yolov6,
)
from edgevision.graph.heads.finished import efficientnms, paddle, yolov7
from edgevision.graph.heads.head import DetectionHead, NetworkFacts
from edgevision.graph.heads.prototypes import end2end_seg, yolov8_seg
from edgevision.graph.heads.queries import detr, detr_softmax, finished, imagenet, rows
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
    packed: bool = False
    """True if the outputs are rows of one frame, without a batch."""


IMAGENET_PIXELS = PixelFormat("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SSD_PIXELS = PixelFormat("rgb", 1.0, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
_NANODET_PIXELS = PixelFormat("bgr", 1.0, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395))

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
    "yolov6": Convention(yolov6.EXPECTED, yolov6.recognise, yolov6.doubt, PixelFormat("rgb")),
    "yolov7-e2e": Convention(
        yolov7.EXPECTED, yolov7.recognise, yolov7.doubt, PixelFormat("rgb"), packed=True
    ),
    "yolo-nas": Convention(yolonas.EXPECTED, yolonas.recognise, yolonas.doubt, PixelFormat("rgb")),
    "damo-yolo": Convention(damoyolo.EXPECTED, damoyolo.recognise, damoyolo.doubt, PixelFormat("rgb", 1.0)),
    "pp-yoloe": Convention(ppyoloe.EXPECTED, ppyoloe.recognise, ppyoloe.doubt, PixelFormat("rgb"), "stretch"),
    "paddle": Convention(
        paddle.EXPECTED, paddle.recognise, paddle.doubt, PixelFormat("rgb"), "stretch", packed=True
    ),
    "nanodet": Convention(nanodet.EXPECTED, nanodet.recognise, nanodet.doubt, _NANODET_PIXELS, "stretch"),
    "picodet": Convention(picodet.EXPECTED, picodet.recognise, picodet.doubt, IMAGENET_PIXELS, "stretch"),
    "ssd": Convention(ssd.EXPECTED, ssd.recognise, ssd.doubt, _SSD_PIXELS, "stretch"),
    "detr": Convention(detr.EXPECTED, detr.recognise, detr.doubt, PixelFormat("rgb"), "stretch"),
    "detr-softmax": Convention(
        detr_softmax.EXPECTED, detr_softmax.recognise, detr_softmax.doubt, IMAGENET_PIXELS, "stretch"
    ),
    "detr-imagenet": Convention(
        imagenet.EXPECTED, imagenet.recognise, imagenet.doubt, IMAGENET_PIXELS, "stretch"
    ),
    "rt-detr-rows": Convention(rows.EXPECTED, rows.recognise, rows.doubt, PixelFormat("rgb"), "stretch"),
    "rt-detr-finished": Convention(
        finished.EXPECTED, finished.recognise, finished.doubt, PixelFormat("rgb"), "stretch"
    ),
    "efficient-nms": Convention(
        efficientnms.EXPECTED, efficientnms.recognise, efficientnms.doubt, PixelFormat("rgb")
    ),
    "tensorrt-nms": Convention(
        tensorrtnms.EXPECTED, tensorrtnms.recognise, tensorrtnms.doubt, PixelFormat("rgb")
    ),
    "yolov8-seg": Convention(
        yolov8_seg.EXPECTED, yolov8_seg.recognise, yolov8_seg.doubt, PixelFormat("rgb"), task="instances"
    ),
    "end2end-seg": Convention(
        end2end_seg.EXPECTED, end2end_seg.recognise, end2end_seg.doubt, PixelFormat("rgb"), task="instances"
    ),
}

CLASSIFIER = "classifier"
IMAGENET_CROP = 0.875

SEGMENTER = "segmenter"
IMAGE = "image"
"""Image-to-image networks."""
NOTABLE = ("yolov5", "yolov8", "yolox", "end2end", CLASSIFIER)
"""Heads of common shapes: the reason against them is mentioned when another head is recognised."""

HEADS = (*DETECTORS, SEGMENTER, CLASSIFIER, IMAGE)

_TASKS: dict[str, Task] = {"detect": "detect", "segment": "instances", "pose": "pose", "obb": "obb"}
TASKS: dict[str, tuple[str, ...]] = {
    name: tuple(head for head, convention in DETECTORS.items() if convention.task == task)
    for name, task in _TASKS.items()
} | {"classify": (CLASSIFIER,), "semantic": (SEGMENTER,)}
"""Heads for each task that Ultralytics' exports name in their metadata."""


def expected_outputs(head: str) -> str:
    """Description of the outputs that a head takes."""
    if head in (SEGMENTER, IMAGE):
        return segmenter.EXPECTED if head == SEGMENTER else images.EXPECTED
    return classifier.EXPECTED if head == CLASSIFIER else DETECTORS[head].expected


def known_heads() -> str:
    """All heads with their expected outputs, one on each line."""
    return "\n".join(f"  {name}: {expected_outputs(name)}" for name in HEADS)
