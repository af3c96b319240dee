"""Instance masks of an unmodified file in plain numpy: the reference for the nodes of `graph.masks`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from edgevision.contract.spec import NmsSpec
from edgevision.contract.transform import FrameTransform
from edgevision.graph.foreign.selection import best_pairs_plain
from edgevision.graph.heads.head import DetectionHead
from edgevision.graph.masks import MASK_STRIDE

Array = npt.NDArray[Any]


@runtime_checkable
class PlainMaskHead(DetectionHead, Protocol):
    """A head with masks whose plain decoding returns the coefficients too."""

    @property
    def mask_count(self) -> int:
        """Number of coefficients of each box."""

    def plain_coefficients(self, arrays: list[Array]) -> Array:
        """The coefficients ``[N,M]`` of the boxes that `plain` returns."""


@dataclass(frozen=True, slots=True)
class MaskPlace:
    """Sizes of the masks and of the frames that they cover."""

    mask_wh: tuple[int, int]
    frame_wh: tuple[int, int]
    placement: FrameTransform | None
    """None if the frames have the network's size."""


def plain_masks(raw: list[Array], head: PlainMaskHead, nms: NmsSpec, place: MaskPlace) -> Array:
    """One frame's masks uint8 ``[K,h,w]`` of the final detections, in their order; the others are empty."""
    found = best_pairs_plain(raw, head, nms)
    boxes = found.boxes if place.placement is None else place.placement.frame_from_input(found.boxes)
    count = min(len(boxes), nms.max_detections)
    coefficients = np.asarray(head.plain_coefficients(raw))[found.rows[:count]]
    prototypes = raw[-1].astype(np.float64)
    if place.placement is not None:
        prototypes = _over_frame(prototypes, place, place.placement)
    width, height = place.mask_wh
    masks = np.zeros((nms.max_detections, height, width), np.uint8)
    for number in range(count):
        mask = 1 / (1 + np.exp(-np.tensordot(coefficients[number], prototypes, 1)))
        x1, y1, x2, y2 = boxes[number] * (np.array(place.mask_wh * 2) / (place.frame_wh * 2))
        inside_x = (x1 < np.arange(width) + 1) & (x2 > np.arange(width))
        inside_y = (y1 < np.arange(height) + 1) & (y2 > np.arange(height))
        masks[number] = np.rint(255 * mask * inside_y[:, None] * inside_x)
    return masks


def _over_frame(prototypes: Array, place: MaskPlace, placement: FrameTransform) -> Array:
    """Prototypes interpolated at the centres of the frame's mask cells."""
    weights = []
    for axis, length in ((0, prototypes.shape[2]), (1, prototypes.shape[1])):
        cells = place.mask_wh[axis]
        centres = (np.arange(cells) + 0.5) * place.frame_wh[axis] / cells
        at = (centres * placement.scale_xy[axis] + placement.offset_xy[axis]) / MASK_STRIDE - 0.5
        weights.append(np.stack([np.interp(at, np.arange(length), row) for row in np.eye(length)], 1))
    columns, rows = weights
    return np.asarray(np.einsum("yh,mhw,xw->myx", rows, prototypes, columns, optimize=True))
