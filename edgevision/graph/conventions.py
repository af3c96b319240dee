"""The heads that `adopt` knows, and how networks with them are trained to see pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgevision.contract.spec import Fit
from edgevision.graph.heads import end2end, fastestdet, yolov5, yolov8, yolox
from edgevision.graph.heads.head import DetectionHead, NetworkFacts
from edgevision.graph.preprocess import PixelNodes


@dataclass(frozen=True, slots=True)
class Convention:
    """What goes with a detection head unless the user says otherwise."""

    expected: str
    """The outputs, in words."""
    recognise: Callable[[NetworkFacts], DetectionHead | None]
    pixels: PixelNodes
    fit: Fit = "letterbox"


DETECTORS: dict[str, Convention] = {
    "yolov5": Convention(yolov5.EXPECTED, yolov5.recognise, PixelNodes("rgb")),
    "yolov8": Convention(yolov8.EXPECTED, yolov8.recognise, PixelNodes("rgb")),
    # Its authors pad at the right and below; centred padding is the same to a convolutional network: 28.5 and
    # 28.6 AP for YOLOX-Nano on 220 images of COCO.
    "yolox": Convention(yolox.EXPECTED, yolox.recognise, PixelNodes("bgr", 1.0)),
    "fastestdet": Convention(fastestdet.EXPECTED, fastestdet.recognise, PixelNodes("bgr"), "stretch"),
    "end2end": Convention(end2end.EXPECTED, end2end.recognise, PixelNodes("rgb")),
}

CLASSIFIER = "classifier"
CLASSIFIER_EXPECTED = "one output [B, C]: logits or probabilities"
IMAGENET_PIXELS = PixelNodes("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
IMAGENET_CROP = 0.875

HEADS = (*DETECTORS, CLASSIFIER)


def known_heads() -> str:
    """All heads with the outputs that they expect, one a line."""
    lines = [f"  {name}: {convention.expected}" for name, convention in DETECTORS.items()]
    return "\n".join([*lines, f"  {CLASSIFIER}: {CLASSIFIER_EXPECTED}"])
