"""A camera where none is: it pans and zooms over real photographs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

import edgevision
from edgevision.image import Frame

PHOTOGRAPHS = Path(edgevision.__file__).parent / "photographs"


class VirtualCamera:
    """Looks at each photograph in turn, drifting across it while it zooms in and out.

    Frames are uint8 ``[H,W,3]`` BGR of `size_wh`; frame `n` is always the same picture.
    """

    def __init__(self, size_wh: tuple[int, int] = (640, 480), *, frames_per_photograph: int = 60) -> None:
        self.size_wh = size_wh
        self.frames_per_photograph = frames_per_photograph
        self._photographs = [np.asarray(cv2.imread(str(path))) for path in sorted(PHOTOGRAPHS.glob("*.jpg"))]

    @property
    def cycle(self) -> int:
        """Frames until the camera has seen every photograph once."""
        return self.frames_per_photograph * len(self._photographs)

    def frame(self, index: int) -> Frame:
        """The picture at a moment, counted in frames."""
        photograph = self._photographs[index // self.frames_per_photograph % len(self._photographs)]
        phase = 2 * math.pi * (index % self.frames_per_photograph) / self.frames_per_photograph
        height, width = photograph.shape[:2]
        view_w, view_h = self.size_wh
        # The view never leaves the photograph: at least the scale that covers it, at most 1.6 times that.
        scale = max(view_w / width, view_h / height) * (1.3 - 0.3 * math.cos(phase))
        free_x, free_y = width * scale - view_w, height * scale - view_h
        left = free_x * (0.5 + 0.5 * math.sin(phase))
        top = free_y * (0.35 + 0.35 * math.sin(2 * phase))
        matrix = np.array([[scale, 0, -left], [0, scale, -top]], np.float64)
        return np.asarray(
            cv2.warpAffine(photograph, matrix, self.size_wh, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    def frames(self, count: int) -> Iterator[Frame]:
        """The first `count` pictures."""
        return (self.frame(index) for index in range(count))
