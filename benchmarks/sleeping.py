"""An engine with a fixed latency and constant outputs."""

from __future__ import annotations

import time

import numpy as np

from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import BatchRange, FrameInput, ModelSpec, Provenance, classify_outputs


class SleepingEngine(Session):
    """Each call takes `takes_s` seconds, for one frame or many."""

    def __init__(self, takes_s: float, *, most: int = 1) -> None:
        provenance = Provenance("none", None, "none", "2026-01-01T00:00:00+00:00")
        frames = FrameInput((64, 64), batch=BatchRange(1, 1, most))
        spec = ModelSpec("none", "classify", frames, classify_outputs(2), ("a", "b"), provenance)
        super().__init__(spec, EngineInfo("none", "none", "cpu"))
        self._takes_s = takes_s

    def _infer(self, frames: Frames) -> Outputs:
        ends_s = time.perf_counter() + self._takes_s
        while (left_s := ends_s - time.perf_counter()) > 0:
            time.sleep(left_s)
        return (np.full((len(frames), 2), 0.5, np.float32),)
