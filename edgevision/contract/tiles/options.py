"""Options of tiles, and their limits for a model."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.contract.spec import ModelSpec
from edgevision.errors import UsageError

OVERLAP_PX = 32
"""Default overlap of neighbouring tiles."""


@dataclass(frozen=True, slots=True)
class TileOptions:
    """How frames are divided into tiles."""

    overlap_px: int | None = None
    """Least overlap of neighbouring tiles in pixels of the frame; None: `OVERLAP_PX`, or half of a smaller tile."""
    rows: int | None = None
    """Tiles of a call; None: the optimum of the graph's batch."""


def checked_overlap(spec: ModelSpec, overlap_px: int | None) -> int:
    """The overlap of a model's tiles in pixels of the frame.

    Raises `UsageError` for one that does not fit the input, and for a model of another task.
    """
    if spec.task != "translate":
        raise UsageError(
            f"tiles are for image-to-image models; {spec.name} has the task {spec.task}: omit --tiles"
        )
    width, height = spec.frames.size_wh
    most = min(width, height) // 2
    if overlap_px is None:
        return min(OVERLAP_PX, most)
    if not 0 <= overlap_px <= most:
        raise UsageError(
            f"tiles overlap by {overlap_px} pixels; expected 0 to {most}, half of the shorter side of {spec.name}'s"
            f" input, {width}x{height}; export with a larger --size for more"
        )
    return overlap_px


def factor_xy(spec: ModelSpec) -> tuple[float, float]:
    """The made image's width and height relative to the input's."""
    _, height, width, _ = spec.outputs[0].shape
    return width / spec.frames.size_wh[0], height / spec.frames.size_wh[1]
