"""Options of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgevision.contract.thresholds import Threshold
from edgevision.settings.kinds import Number
from edgevision.settings.setting import setting


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """Options of the pipeline."""

    threshold: Threshold | None = None
    """Minimum confidence of a detection, for streams without their own; None: the session's."""
    limit: int | None = None
    """Stop after this number of results, of all sources together; dropped and late frames do not count."""
    serial: bool = False
    """Run the stages one after another in the calling thread; their times then add up to the wall time."""
    batch: int | Literal["auto"] | None = field(
        default="auto",
        metadata=setting(
            Number(1, 1024, whole=True, word="auto"),
            "Batch size. auto with several live sources: the fastest size, measured at start; with one: 1; with files"
            " only: OPT of `export --batch`.",
            option="--batch",
        ),
    )
    """None, and "auto" without a measurement (`choose_batch`): 1 for one camera, the graph's optimum for files,
    otherwise the number of cameras.
    """
    batch_timeout_ms: float = field(
        default=5.0,
        metadata=setting(
            Number(0, 1000),
            "Maximum time a partial batch waits for more frames.",
            option="--batch-timeout-ms",
            metavar="MS",
        ),
    )
    workers: int | Literal["auto"] = field(
        default="auto",
        metadata=setting(
            Number(1, 256, whole=True, word="auto"),
            "Threads that decode files, prepare frames, and draw and encode output. auto: one per CPU core. 1: only"
            " the threads of the stages.",
            option="--workers",
        ),
    )
    """More than 1: frames of a batch are prepared in parallel, files are read in parallel and a little in advance."""
    max_age_ms: float | None = field(
        default=None,
        metadata=setting(
            Number(0, least_open=True),
            "Drop live frames whose result would be older than this; default: no limit.",
            option="--max-age-ms",
            metavar="MS",
        ),
    )
