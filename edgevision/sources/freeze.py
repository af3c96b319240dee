"""Detection of frozen and black frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgevision.errors import UsageError
from edgevision.settings.kinds import Number
from edgevision.settings.setting import setting

Verdict = Literal["good", "frozen", "black"]


@dataclass(frozen=True, slots=True)
class FreezeOptions:
    """Thresholds for frozen and black frames. Levels are of 255."""

    freeze_after_s: float | None = field(
        default=5.0,
        metadata=setting(
            Number(0, off_at_zero=True),
            "Withhold frames if the image has not changed for this long; 0 disables.",
            option="--freeze-after",
            metavar="SECONDS",
        ),
    )
    """None: no image counts as frozen. 0, only possible in Python, drops every repeated image."""
    still_mean: float = 0.4
    """Maximum mean difference of a still image in levels: less than a sensor's noise, more than an encoder's."""
    still_peak: int = 12
    """Maximum difference of a single point of a still image in levels."""
    black_level: int | None = 20
    """An image is black if 99.5 % of its points are no brighter; None: no image counts as black."""

    def __post_init__(self) -> None:
        if self.freeze_after_s is not None and self.freeze_after_s < 0:
            raise UsageError(
                f"freeze_after_s is {self.freeze_after_s:g}; expected seconds, or None for never"
            )


class FreezeDetector:
    """Checks the thumbnails of one camera in order.

    An image is still if it equals the first image of the still period, within an encoder's inaccuracy. The comparison
    is not with its predecessor, so that slow changes such as dusk count as changes. Images alone cannot distinguish a
    frozen camera from a static scene without noise. Both count as frozen after `freeze_after_s`, until the first image
    that differs.
    """

    def __init__(self, options: FreezeOptions) -> None:
        self._options = options
        self._reference: npt.NDArray[np.int16] | None = None
        self._still_since_s = 0.0

    def look(self, thumbnail: npt.NDArray[np.uint8], at_s: float) -> Verdict:
        """Classify an image that arrived at `at_s`, in seconds of any steady clock."""
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
