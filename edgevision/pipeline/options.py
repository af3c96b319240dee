"""How frames are run, by the pipeline and by whoever starts it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgevision.contract.results import THRESHOLD
from edgevision.settings.kinds import Number
from edgevision.settings.setting import setting


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How frames are run."""

    threshold: float = THRESHOLD
    """Detections of a lower score are left out, by streams that `run_pipeline` makes."""
    limit: int | None = None
    """Stop after so many frames."""
    serial: bool = False
    """One stage after another in the calling thread; the stages' times then add up to the wall time."""
    batch: int | Literal["auto"] | None = field(
        default="auto",
        metadata=setting(
            Number(1, 1024, whole=True, word="auto"),
            "Batch size; auto: measured if several live sources share the engine.",
            option="--batch",
        ),
    )
    """None, and "auto" where nothing was measured (`choose_batch`): 1 for one camera, the graph's optimum for files,
    the number of cameras otherwise."""
    batch_timeout_ms: float = field(
        default=5.0,
        metadata=setting(
            Number(0, 1000),
            "Maximum time a partial batch waits for more frames.",
            option="--batch-timeout-ms",
            metavar="MS",
        ),
    )
    max_age_ms: float | None = field(
        default=None,
        metadata=setting(
            Number(0, least_open=True),
            "Drop live frames whose result would be older than this; default: none is dropped for its age.",
            option="--max-age-ms",
            metavar="MS",
        ),
    )
