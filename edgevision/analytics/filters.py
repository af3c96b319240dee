"""Filters of detections by class and size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edgevision.contract.results import Detections
from edgevision.errors import UsageError


@dataclass(frozen=True, slots=True)
class DetectionFilter:
    """Classes and sizes of detections; the default keeps all of them."""

    labels: frozenset[int] | None = None
    """None: every class."""
    min_area: float = 0.0
    """Minimum area of a box, as a share of the frame's."""
    max_area: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_area <= self.max_area <= 1:
            raise UsageError(
                "areas are out of range; expected 0 <= min <= max <= 1 as shares of the frame, received min"
                f" {self.min_area:g} and max {self.max_area:g}"
            )

    def apply(self, detections: Detections, size_wh: tuple[int, int]) -> Detections:
        """The detections that pass, in a frame of that size."""
        boxes = detections.boxes
        share = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (size_wh[0] * size_wh[1])
        keep = (share >= self.min_area) & (share <= self.max_area)
        if self.labels is not None:
            keep &= np.isin(detections.labels, sorted(self.labels))
        return detections if keep.all() else detections[keep]


def labels_from_names(names: Iterable[str], classes: tuple[str, ...]) -> frozenset[int]:
    """The labels of class names or numbers; raises `UsageError` for an unknown one."""
    known = {name: label for label, name in enumerate(classes)} | {str(k): k for k in range(len(classes))}
    wanted = tuple(names)
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"the model has no class {name!r}; expected one of: {', '.join(classes) or 'none'}"
            )
    return frozenset(known[name] for name in wanted)
