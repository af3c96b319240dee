"""Tells pictures that show nothing new, or nothing at all, from real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgevision.errors import UsageError

Verdict = Literal["good", "frozen", "black"]


@dataclass(frozen=True, slots=True)
class FreezeOptions:
    """When a picture counts as frozen or black. Levels are of 255."""

    freeze_after_s: float | None = 5.0
    """So long must the picture stand still; None never calls it frozen. 0 withholds every repeated picture."""
    still_mean: float = 0.4
    """Levels by which a still picture may differ on average: less than a sensor's noise, more than an encoder's."""
    still_peak: int = 12
    """Levels by which a single point of a still picture may differ."""
    black_level: int | None = 20
    """A picture is black if 99.5 % of its points are no brighter; None never calls it black."""

    def __post_init__(self) -> None:
        if self.freeze_after_s is not None and self.freeze_after_s < 0:
            raise UsageError(
                f"freeze_after_s is {self.freeze_after_s:g}; expected seconds, or None for never"
            )


class FreezeDetector:
    """Looks at the thumbnails of one camera in their order.

    A picture is still if it equals, within an encoder's inaccuracy, the one with which the stand-still began. Held
    against that one and not against its predecessor, slow changes such as dusk count as changes. From pictures alone a
    frozen camera cannot be told from a noiseless scene in which nothing moves: both are called frozen after
    `freeze_after_s`, and neither any more with the first picture that differs.
    """

    def __init__(self, options: FreezeOptions) -> None:
        self._options = options
        self._reference: npt.NDArray[np.int16] | None = None
        self._still_since_s = 0.0

    def look(self, thumbnail: npt.NDArray[np.uint8], at_s: float) -> Verdict:
        """Judge a picture that came `at_s`, in seconds of any steady clock."""
        if self._is_black(thumbnail):
            self._reference = None
            return "black"
        levels = thumbnail.astype(np.int16)
        if not self._is_still(levels):
            self._reference = levels
            self._still_since_s = at_s
            return "good"
        after_s = self._options.freeze_after_s
        return "good" if after_s is None or at_s - self._still_since_s < after_s else "frozen"

    def _is_black(self, thumbnail: npt.NDArray[np.uint8]) -> bool:
        level = self._options.black_level
        return level is not None and bool(np.count_nonzero(thumbnail > level) <= thumbnail.size // 200)

    def _is_still(self, levels: npt.NDArray[np.int16]) -> bool:
        if self._reference is None or self._reference.shape != levels.shape:
            return False
        difference = np.abs(levels - self._reference)
        return bool(
            difference.max() <= self._options.still_peak and difference.mean() <= self._options.still_mean
        )
