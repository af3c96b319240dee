"""What the source model answers before its decisions: candidates of NMS, pixels near a tie, and its own noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

PREFIX = "candidates."
"""Of the arrays in ``golden.npz``."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceCandidates:
    """Box-class pairs of a source model before NMS for each golden frame, highest score first.

    The list holds every pair above the score floor that may enter NMS, and always the best ones. Rows that are not used
    have label -1.
    """

    boxes: npt.NDArray[np.float32]
    """``[N,M,4]`` xyxy, or ``[N,M,5]`` oriented boxes, in pixels of the graph's frames, not clipped."""
    scores: npt.NDArray[np.float32]
    """``[N,M]``."""
    labels: npt.NDArray[np.int32]
    """``[N,M]``."""
    rank: npt.NDArray[np.float32]
    """``[N,M]``: what the head ranks boxes by, relative to the last box that it takes: from 1 on a box is taken."""
    cut: npt.NDArray[np.float32]
    """``[N]``: score of the last pair that enters NMS; 0 if all of them enter."""
    lowest: npt.NDArray[np.float32]
    """``[N]``: every pair above this score is stored; -1 if all pairs are."""
    iou_threshold: float
    """1 if the network removes duplicates itself: then the graph has no NMS."""
    placement: npt.NDArray[np.float64]
    """``[2,2]``: scale x y and offset x y from frame pixels to the network's (`FrameTransform`)."""


def boxes_in_frame(boxes: npt.NDArray[Any], placement: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Boxes ``[N,4]`` xyxy or ``[N,5]`` oriented of the network's pixels in those of the frame, not clipped.

    `placement` is that of `SourceCandidates`. Oriented boxes keep their angles: its two scales are equal, except for a
    letterbox's rounding to whole pixels, so each side is scaled by its direction (`FrameTransform`).
    """
    scale, offset = placement
    if boxes.shape[1] == 4:
        return np.asarray((boxes - np.tile(offset, 2)) / np.tile(scale, 2))
    moved = boxes.astype(np.float64)
    moved[:, :2] = (moved[:, :2] - offset) / scale
    cos, sin = np.cos(moved[:, 4]), np.sin(moved[:, 4])
    moved[:, 2] *= np.hypot(cos / scale[0], sin / scale[1])
    moved[:, 3] *= np.hypot(sin / scale[0], cos / scale[1])
    return moved


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Largest change of the source model's answers when its input moves by one rounding step.

    A model that quantizes at run time rounds values that differ in their last bit to different steps. No other
    implementation can be closer to it than it is to itself.
    """

    raw: float = 0.0
    """Change of a raw output, relative to its largest value."""
    raw_mean: float = 0.0
    """The same on average over an output: a fault moves all values, noise moves some."""
    score: float = 0.0
    """Change of a score; below 0.25 scaled up in proportion, as in `Tolerance.score`."""
    box: float = 0.0
    """Change of a box's edge, relative to the box's side."""


def arrays_from_candidates(candidates: SourceCandidates) -> dict[str, npt.NDArray[Any]]:
    """The arrays to store in ``golden.npz``, by name."""
    return {f"{PREFIX}{f.name}": np.asarray(getattr(candidates, f.name)) for f in fields(SourceCandidates)}


def candidates_from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> SourceCandidates | None:
    """The candidates in ``golden.npz``; None for a bundle of an earlier version."""
    if f"{PREFIX}boxes" not in arrays:
        return None
    found: dict[str, Any] = {f.name: arrays[f"{PREFIX}{f.name}"] for f in fields(SourceCandidates)}
    return SourceCandidates(**{**found, "iou_threshold": float(found["iou_threshold"])})
