"""Reference results of a PyTorch module, in the shapes of the graph contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgevision.contract.results import Outputs
from edgevision.contract.spec import NmsSpec
from edgevision.errors import RecipeError
from edgevision.export.modules.heads import detection_head, segmenter_head
from edgevision.graph.foreign.plain_instances import PlainMaskHead
from edgevision.graph.heads.cells.decoded import DecodedHead
from edgevision.graph.heads.head import DetectionHead, NetworkOutput, PoseHead
from edgevision.graph.heads.segmenter import SegmenterHead
from edgevision.graph.resample import bilinear_matrix
from edgevision.models.detections import detections_and_rows, values_of_rows
from edgevision.models.images import images_bgr
from edgevision.models.masks import Mixture, mixture_of_detections
from edgevision.models.recipe import SourceModel

Array = npt.NDArray[Any]

SUM_TOLERANCE = 1e-3
"""Scores whose sum differs from 1 by at most this are probabilities, others are logits."""


def answers_of(
    source: SourceModel, outputs: Sequence[torch.Tensor], nms: NmsSpec | None, size_wh: tuple[int, int]
) -> Outputs | Mixture:
    """Results for an input of `size_wh`, from the module's raw outputs; boxes are in pixels of that input.

    For instances, masks are not computed yet, because their size depends on the frame's. Raises
    `RecipeError` if decoded values of a module are not plausible.
    """
    if source.image_pixels is not None:
        return (images_bgr(outputs[0], source.image_pixels),)
    if nms is None:
        if outputs[0].ndim == 2 or max(outputs[0].shape[2:], default=1) == 1:
            return (probabilities(outputs[0].flatten(1)).numpy(),)
        return (_masks(source, outputs, size_wh),)
    head = detection_head(source)
    assert head is not None, "a detecting source has a head"
    boxes, scores, *further = source.decode(outputs) if source.decode else decoded_by(head, outputs)
    if source.decode is None:
        _check(source.variant, boxes, scores, corners=isinstance(head, DecodedHead) and not head.oriented)
    if isinstance(head, PoseHead):
        found, rows = detections_and_rows(boxes, scores, nms, suppress=not head.suppressed)
        return (*found, values_of_rows(further[0], rows, nms.max_detections))
    if further:
        return mixture_of_detections(
            boxes, scores, further[0], outputs[-1], nms, suppress=not head.suppressed
        )
    return detections_and_rows(boxes, scores, nms, suppress=not head.suppressed)[0]


def decoded_by(head: DetectionHead, outputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Raw outputs decoded by the head in numpy, in the form of `edgevision.models.recipe.Decoding`."""
    frames = [[output[row].numpy() for output in outputs] for row in range(len(outputs[0]))]
    rows: list[tuple[Array, ...]] = [head.plain(arrays) for arrays in frames]
    if isinstance(head, PoseHead):
        rows = [(*row, head.plain_keypoints(arrays)) for row, arrays in zip(rows, frames, strict=True)]
    elif isinstance(head, PlainMaskHead) and head.mask_count:
        rows = [(*row, head.plain_coefficients(arrays)) for row, arrays in zip(rows, frames, strict=True)]
    return tuple(torch.from_numpy(np.stack(arrays).astype(np.float32)) for arrays in zip(*rows, strict=True))


def probabilities(scores: torch.Tensor) -> torch.Tensor:
    """Scores ``[B,C]`` as probabilities: unchanged, or by Softmax if they are logits."""
    sums = scores.sum(dim=1)
    if scores.min() >= 0 and bool(((sums - 1).abs() <= SUM_TOLERANCE).all()):
        return scores
    return scores.softmax(dim=1)


def undecided_pixels(
    source: SourceModel, raw: Array, size_wh: tuple[int, int], share: float
) -> npt.NDArray[np.bool_]:
    """True ``[N,H,W]`` where a pixel's class is within rounding of another, for raw maps ``[N,C,h,w]``.

    Rounding is `share` of the largest value.
    """
    maps = _Maps.of(source, [raw], size_wh)
    if maps.head.answer == "labels":
        return np.zeros((len(raw), size_wh[1], size_wh[0]), np.bool_)
    margin = 2 * share * float(np.abs(raw).max())
    values = raw if maps.full else np.stack([maps.enlarged(array) for array in raw])
    if maps.head.answer == "probability":
        return np.asarray(np.abs(values[:, 0] - 0.5) <= margin)
    two = np.partition(values, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0] <= margin)


@dataclass(frozen=True, slots=True, eq=False)
class _Maps:
    """Scaling of class maps to the input's size."""

    head: SegmenterHead
    rows: Array
    columns: Array
    full: bool
    """True if they have the input's size."""

    @classmethod
    def of(cls, source: SourceModel, raw: Sequence[Array], size_wh: tuple[int, int]) -> _Maps:
        described = [NetworkOutput("", str(array.dtype), (None, *array.shape[1:])) for array in raw]
        head = segmenter_head(described, size_wh, len(source.classes))
        (width, height), (map_w, map_h) = size_wh, head.map_wh
        rows, columns = bilinear_matrix(map_h, height), bilinear_matrix(map_w, width)
        return cls(head, rows, columns, head.map_wh == size_wh)

    def enlarged(self, array: Array) -> Array:
        return np.asarray(np.einsum("yh,chw,xw->cyx", self.rows, array, self.columns, optimize=True))


def _masks(source: SourceModel, outputs: Sequence[torch.Tensor], size_wh: tuple[int, int]) -> Array:
    """The best class of each pixel, uint8 ``[B,H,W]``."""
    maps = _Maps.of(source, [output.numpy() for output in outputs], size_wh)
    if maps.full and maps.head.answer == "classes":
        return outputs[0].argmax(dim=1).to(torch.uint8).numpy()
    low, high = float(outputs[0].min()), float(outputs[0].max())
    if maps.head.answer == "probability" and not 0 <= low <= high <= 1:
        raise RecipeError(
            f"{source.variant}: the only channel is {low:.3g} to {high:.3g}, expected the probability of the second of"
            " two classes, 0 to 1; apply a Sigmoid to logits"
        )
    return np.stack([maps.head.plain(array.numpy(), maps.rows, maps.columns) for array in outputs[0]])


def _check(variant: str, boxes: torch.Tensor, scores: torch.Tensor, *, corners: bool) -> None:
    """Raise `RecipeError` for implausible boxes or scores, which verification cannot detect: both sides have them.

    With `corners`, the network itself returns boxes as x1 y1 x2 y2.
    """
    if not (bool(boxes.isfinite().all()) and bool(scores.isfinite().all())):
        raise RecipeError(
            f"{variant}: boxes or scores are NaN or infinite; check the weights and the decoding"
        )
    low, high = float(scores.min()), float(scores.max())
    if not -1e-3 <= low <= high <= 1 + 1e-3:
        raise RecipeError(
            f"{variant}: scores are {low:.3g} to {high:.3g}, expected 0 to 1; apply a Sigmoid or Softmax to logits"
        )
    if float(boxes[..., :4].abs().max()) <= 2:
        raise RecipeError(
            f"{variant}: boxes are between {float(boxes.min()):.3g} and {float(boxes.max()):.3g}, expected input"
            " pixels; multiply fractions by the input's width and height"
        )
    if corners and float((boxes[..., 2:] < boxes[..., :2]).any(-1).float().mean()) > 0.5:
        raise RecipeError(
            f"{variant}: most boxes have a negative side; expected x1 y1 x2 y2, not centre and size"
        )
    if boxes.shape[2] == 5 and float(boxes[..., 4].abs().max()) > 2 * np.pi:
        raise RecipeError(
            f"{variant}: angles are up to {float(boxes[..., 4].abs().max()):.3g}, expected radians;"
            " convert degrees with torch.deg2rad"
        )
