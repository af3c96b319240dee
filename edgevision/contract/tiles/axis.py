"""Places and weights of tiles along one axis of a frame."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class TiledAxis:
    """Tiles of one axis of a frame, evenly spread, so that neighbours overlap by at least `overlap_px`.

    A network sees no further than a tile's edge. So at each inner edge, the outer quarter of the overlap has no weight.
    Across the next half of the overlap the weight grows linearly to 1, while that of the neighbour falls.
    """

    side: int
    """Of the frame, at least that of a tile."""
    tile: int
    overlap_px: int
    factor: float
    """The made image's side relative to the frame's."""

    @property
    def starts(self) -> tuple[int, ...]:
        """First pixel of each tile."""
        count = 1 + -(-(self.side - self.tile) // (self.tile - self.overlap_px))
        return tuple(round(start) for start in np.linspace(0, self.side - self.tile, count))

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First pixel of each tile in the made image, and the one after its last."""
        length = round(self.tile * self.factor)
        firsts = (round(start * self.factor) for start in self.starts)
        return tuple((first, first + length) for first in firsts)

    def weights(self) -> list[npt.NDArray[np.float32]]:
        """Weight of each pixel of each tile of the made image; those of one pixel of the image add up to 1."""
        starts = self.starts
        overlap_px = self.tile - max((b - a for a, b in itertools.pairwise(starts)), default=self.tile)
        length = round(self.tile * self.factor)
        inward_px = (np.arange(length) + 0.5) / self.factor  # of pixel centres, from the first edge
        rising = (2 * inward_px / overlap_px - 0.5).clip(0, 1) if overlap_px else np.ones(length)
        falling = rising[::-1]
        last = len(starts) - 1
        parts = [
            (rising if number else np.ones(length)) * (falling if number < last else np.ones(length))
            for number in range(last + 1)
        ]
        total = np.zeros(self.spans[-1][1])
        for (first, end), part in zip(self.spans, parts, strict=True):
            total[first:end] += part
        return [
            np.asarray(part / total[first:end], np.float32)
            for (first, end), part in zip(self.spans, parts, strict=True)
        ]
