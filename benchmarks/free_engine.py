"""An engine that takes no time, for measurements of everything except inference."""

from __future__ import annotations

import numpy as np

from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import (
    BatchRange,
    FrameInput,
    ModelSpec,
    NmsSpec,
    Provenance,
    detect_outputs,
)

DETECTIONS = 20


class FreeEngine(Session):
    """A detector that reads no pixels and always returns the same boxes."""

    def __init__(self, size_wh: tuple[int, int] = (640, 640), *, batch: BatchRange | None = None) -> None:
        provenance = Provenance("none", None, "none", "2026-01-01T00:00:00+00:00")
        frames = FrameInput(size_wh, batch=batch or BatchRange(1, 8, 8))
        nms = NmsSpec(candidates=DETECTIONS, max_detections=DETECTIONS)
        outputs = detect_outputs(DETECTIONS)
        super().__init__(
            ModelSpec("none", "detect", frames, outputs, ("object",), provenance, nms),
            EngineInfo("none", "none", "cpu"),
        )
        width, height = size_wh
        corners = np.random.default_rng(0).uniform(0, 0.5, (DETECTIONS, 2)) * [width, height]
        self._boxes = np.hstack([corners, corners + np.array([width, height]) / 4]).astype(np.float32)

    def _infer(self, frames: Frames) -> Outputs:
        count = len(frames)
        boxes = np.repeat(self._boxes[None], count, 0)
        scores = np.full((count, DETECTIONS), 0.9, np.float32)
        return boxes, scores, np.zeros((count, DETECTIONS), np.int32)
