"""Minimum confidence of a detection: one number, or one for each class."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

THRESHOLD = 0.25
"""Default minimum confidence of a detection, for a model without an operating point."""


@dataclass(frozen=True, slots=True)
class ClassThresholds:
    """A minimum confidence for each label, in the order of the spec's classes; each from 0 to 1."""

    values: tuple[float, ...]
    array: npt.NDArray[np.float32] = field(init=False, repr=False, compare=False)
    """The same, float32 ``[C]``."""

    def __post_init__(self) -> None:
        if not self.values or not all(0 <= value <= 1 for value in self.values):
            raise ValueError(f"expected a confidence from 0 to 1 for each class; received {self.values}")
        object.__setattr__(self, "array", np.array(self.values, np.float32))

    @property
    def least(self) -> float:
        """The lowest of all classes."""
        return min(self.values)

    def __format__(self, spec: str) -> str:
        """The range of the values, each in the format `spec`."""
        low, high = (f"{value:{spec}}" for value in (min(self.values), max(self.values)))
        return low if low == high else f"{low} to {high} by class"


Threshold = float | ClassThresholds


def threshold_of(threshold: Threshold, label: int) -> float:
    """The minimum confidence of one label."""
    if not isinstance(threshold, ClassThresholds):
        return threshold
    return threshold.values[min(max(label, 0), len(threshold.values) - 1)]


def least_of(threshold: Threshold) -> float:
    """The lowest minimum confidence of any class."""
    return threshold.least if isinstance(threshold, ClassThresholds) else threshold


def by_class(threshold: Threshold | None, classes: tuple[str, ...]) -> dict[str, float] | None:
    """The minimum confidence by class name; None if it is not one for each class."""
    if not isinstance(threshold, ClassThresholds):
        return None
    return dict(zip(classes, threshold.values, strict=False))
