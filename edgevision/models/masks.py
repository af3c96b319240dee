"""Computes masks from coefficients and prototypes in PyTorch and numpy: the reference for the graph.

YOLACT (arXiv 1904.02689, section 3.1): a mask's logits are the sum of the prototypes, each times the detection's
coefficient for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from edgevision.contract.results import Outputs
from edgevision.contract.spec import NmsSpec
from edgevision.contract.transform import FrameTransform
from edgevision.models.detections import detections_and_rows, values_of_rows


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Detections whose masks are not computed yet.

    `boxes`, `scores` and `labels` are a detector's answer; `coefficients` float32 ``[B,K,M]`` belong to them, 0 in
    unused rows; `prototypes` float32 ``[B,M,h,w]`` cover the network's whole input.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    coefficients: npt.NDArray[np.float32]
    prototypes: npt.NDArray[np.float32]


def mixture_of_detections(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    coefficients: torch.Tensor,
    prototypes: torch.Tensor,
    nms: NmsSpec,
    *,
    suppress: bool = True,
) -> Mixture:
    """Apply NMS to decoded boxes ``[B,N,4]`` with scores ``[B,N,C]``; each box keeps its coefficients ``[B,N,M]``.

    Without `suppress` the boxes are final, and only the best are taken.
    """
    (boxes_found, scores_found, labels), rows = detections_and_rows(boxes, scores, nms, suppress=suppress)
    chosen = values_of_rows(coefficients, rows, nms.max_detections)
    return Mixture(boxes_found, scores_found, labels, chosen, prototypes.numpy())


def answers_from_mixture(mixture: Mixture, input_wh: tuple[int, int]) -> Outputs:
    """The graph contract's answer, with one mask cell for each cell of the prototypes.

    A mask is round(255 * probability) in the cells that its box touches and 0 in the others; `input_wh` is the size in
    pixels that boxes refer to.
    """
    height, width = mixture.prototypes.shape[2:]
    masks = np.zeros((*mixture.scores.shape, height, width), np.uint8)
    cells = np.array([width / input_wh[0], height / input_wh[1]] * 2)
    for place, detection in zip(*np.nonzero(mixture.scores > 0), strict=True):
        x1, y1, x2, y2 = mixture.boxes[place, detection] * cells
        column, row = np.arange(width), np.arange(height)
        touched = np.outer((row + 1 > y1) & (row < y2), (column + 1 > x1) & (column < x2))
        logits = np.tensordot(mixture.coefficients[place, detection], mixture.prototypes[place], axes=1)
        # The logistic function in terms of tanh, which does not overflow for large logits.
        values = np.rint(255 * (1 + np.tanh(logits.astype(np.float64) / 2)) / 2)
        masks[place, detection] = np.where(touched, values, 0)
    return mixture.boxes, mixture.scores, mixture.labels, masks


def over_frame(mixture: Mixture, placement: FrameTransform, mask_wh: tuple[int, int], stride: int) -> Mixture:
    """The same for a frame that was scaled to the network's input: boxes in its pixels, prototypes only over it.

    The prototypes, `stride` input pixels for each cell, are interpolated at `mask_wh` places of the frame.
    """
    boxes = placement.frame_from_input(mixture.boxes.reshape(-1, 4)).reshape(mixture.boxes.shape)
    boxes[mixture.scores == 0] = 0
    prototypes = mixture.prototypes
    for axis in (0, 1):
        centres = (np.arange(mask_wh[axis]) + 0.5) * placement.frame_wh[axis] / mask_wh[axis]
        places = (centres * placement.scale_xy[axis] + placement.offset_xy[axis]) / stride - 0.5
        prototypes = _interpolated(prototypes, places, 3 - axis)
    return Mixture(boxes, mixture.scores, mixture.labels, mixture.coefficients, prototypes)


def _interpolated(
    values: npt.NDArray[np.float32], places: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float32]:
    """Linear interpolation along an axis; beyond the ends, the end values."""
    places = places.clip(0, values.shape[axis] - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    weight = (places - low).astype(np.float32)
    weight = weight.reshape([-1 if place == axis else 1 for place in range(values.ndim)])
    return np.asarray(values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight)
