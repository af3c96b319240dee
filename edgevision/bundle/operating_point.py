"""The operating point of a bundle: the confidence threshold of each class, and how it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgevision.contract.thresholds import ClassThresholds

SCHEMA = 1

LOST = (
    "the bundle's operating point was measured with another graph and is not used; measure it again: edgevision eval"
    " BUNDLE --images DIR --annotations LABELS --write-thresholds"
)
"""Note on a bundle whose measured graph was replaced."""

Overlap = Literal["IoU", "OKS"]
"""IoU of boxes, which are rotated for oriented boxes, or object keypoint similarity of poses."""


@dataclass(frozen=True, slots=True)
class ClassPoint:
    """One class: its threshold, and precision, recall and F1 at it on the measured images, each from 0 to 1."""

    name: str
    threshold: float
    precision: float | None
    """None without a detection."""
    recall: float | None
    """None without a labelled box."""
    f1: float | None
    """None without a detection and a labelled box."""
    boxes: int
    """Number of labelled boxes, for poses of labelled objects with keypoints."""
    fallback: bool
    """True: there are too few boxes, so the threshold is that of all classes together."""

    def __post_init__(self) -> None:
        for name in ("threshold", "precision", "recall", "f1"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} of class {self.name!r} is {value:g}; expected 0 to 1")


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Thresholds measured on labelled images that were not used for training."""

    classes: tuple[ClassPoint, ...]
    """Those of the model that the labels have."""
    fallback: float
    """Threshold of classes that are not listed, and of those with fewer than `min_boxes` boxes."""
    min_boxes: int
    images: int
    data: str
    """File of the labels, without its folder."""
    data_sha256: str | None
    """Hash of that file; None if the labels are a folder."""
    graph_sha256: str
    """The measured graph."""
    library: str
    """Name and version of the engine."""
    created: str
    """UTC, ISO 8601."""
    edgevision: str
    """The version that measured."""
    match_iou: float = 0.5
    """Minimum overlap of a detection with the labelled object that it finds."""
    overlap: Overlap = "IoU"
    """The overlap that `match_iou` limits."""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if not 0 <= self.fallback <= 1:
            raise ValueError(f"fallback is {self.fallback:g}; expected 0 to 1")

    def check_classes(self, classes: Sequence[str]) -> None:
        """Raise `ValueError` for a class that is not one of `classes`."""
        for point in self.classes:
            if point.name not in classes:
                raise ValueError(
                    f"the operating point has the class {point.name!r}; the model has: {', '.join(classes) or 'none'}"
                )

    def thresholds(self, classes: Sequence[str]) -> ClassThresholds:
        """The threshold of each of `classes`, in their order."""
        known = {point.name: point.threshold for point in self.classes}
        return ClassThresholds(tuple(known.get(name, self.fallback) for name in classes))
