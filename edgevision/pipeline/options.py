"""Options of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgevision.contract.spec import ModelSpec
from edgevision.contract.thresholds import Threshold
from edgevision.contract.tiles.options import OVERLAP_PX, TileOptions, checked_overlap
from edgevision.errors import UsageError
from edgevision.settings.kinds import Flag, Number
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
    tiles: bool = field(
        default=False,
        metadata=setting(
            Flag(),
            "Image-to-image models: cover frames with overlapping tiles of the graph's size, instead of resizing them.",
            option="--tiles",
        ),
    )
    overlap_px: int | None = field(
        default=None,
        metadata=setting(
            Number(0, 4096, whole=True),
            f"With tiles: least overlap of neighbours in pixels; default: {OVERLAP_PX}, or half of a smaller tile.",
            option="--overlap",
            metavar="PX",
        ),
    )

    def __post_init__(self) -> None:
        if self.overlap_px is not None and not self.tiles:
            raise UsageError(
                f"an overlap of {self.overlap_px} pixels is for tiles: add --tiles, or omit --overlap"
            )

    @property
    def tiling(self) -> TileOptions | None:
        """How frames are divided, with `batch` tiles in a call; None: not at all."""
        if not self.tiles:
            return None
        return TileOptions(self.overlap_px, self.batch if isinstance(self.batch, int) else None)

    def check(self, spec: ModelSpec) -> None:
        """Raise `UsageError` if the model cannot take frames in these tiles."""
        if self.tiles:
            checked_overlap(spec, self.overlap_px)
