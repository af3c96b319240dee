"""Result of one frame from the pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.analytics.observation import Observation
from edgevision.contract.results import Result
from edgevision.sources.frames import SourceFrame


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Time of each stage for one frame; of batched stages, the frame's share."""

    decode_ns: int
    prepare_ns: int
    """Scaling into the batch."""
    inference_ns: int
    """The whole graph: normalisation, network, decoding, NMS."""
    results_ns: int = 0
    """Thresholding and boxes to frame pixels; also tracking and counting, if enabled."""
    output_ns: int | None = None
    """Drawing and all sinks; None until they have finished."""

    def in_ms(self) -> dict[str, float]:
        """The known times in the order of the stages."""
        times = {
            "decode": self.decode_ns,
            "prepare": self.prepare_ns,
            "inference": self.inference_ns,
            "results": self.results_ns,
            "output": self.output_ns,
        }
        return {stage: time_ns / 1e6 for stage, time_ns in times.items() if time_ns is not None}


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """One frame with its result and times."""

    frame: SourceFrame
    result: Result
    times: StageTimes
    age_ms: float
    """Time from the capture of the frame to its result."""
    observation: Observation | None = None
    """Identities and events; None without tracking."""
