"""A frame that has been through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.analytics.observation import Observation
from edgevision.contract.results import Result
from edgevision.sources.frames import SourceFrame


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Where one frame's time went; of what was done for a batch, the frame's share."""

    decode_ns: int
    prepare_ns: int
    """Scaling into the batch."""
    inference_ns: int
    """The whole graph: normalisation, network, decoding, suppression."""
    results_ns: int = 0
    """Thresholding, boxes back to frame pixels; tracking and counting where they are asked for."""
    output_ns: int | None = None
    """Drawing and all sinks; None while it is going on."""

    def in_ms(self) -> dict[str, float]:
        """The times known so far, in the order of the stages."""
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
    """One frame, its result, and what it took."""

    frame: SourceFrame
    result: Result
    times: StageTimes
    age_ms: float
    """From the capture of the frame to its result."""
    observation: Observation | None = None
    """Identities and events; None where nothing is tracked."""
