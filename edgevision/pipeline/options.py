"""How frames are run, by the pipeline and by whoever starts it."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.contract.results import THRESHOLD


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How frames are run."""

    threshold: float = THRESHOLD
    """Detections of a lower score are left out, by streams that `run_pipeline` makes."""
    limit: int | None = None
    """Stop after so many frames."""
    serial: bool = False
    """One stage after another in the calling thread; the stages' times then add up to the wall time."""
    batch: int | None = None
    """Batch size. None: 1 for one camera, the graph's optimum for files, the number of cameras otherwise.
    `choose_batch` measures which size is best."""
    fill_ms: float = 5.0
    """Maximum time that a partial batch waits for more frames, from its first frame on."""
    max_age_ms: float | None = None
    """Live frames whose results would be older are dropped; no result that is older reaches a sink."""
