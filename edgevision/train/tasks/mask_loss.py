"""The loss of instance masks: binary cross entropy inside each box, averaged over the box's own cells.

YOLACT (arXiv 1904.02689, sections 3.1 and 3.2): a mask is the logistic function of the sum of the prototypes, each
times its coefficient. The loss is computed inside the true box and divided by the box's area, so that small objects
count equally.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True, slots=True, eq=False)
class MaskAnswers:
    """Outputs of matched cells of one map: `coefficients` float32 ``[N,M]``, and `target` int64 ``[N]``, their mask."""

    coefficients: torch.Tensor
    target: torch.Tensor


def mask_loss(
    answers: Sequence[MaskAnswers],
    prototypes: torch.Tensor,
    masks: torch.Tensor,
    xywh: torch.Tensor,
    image: torch.Tensor,
) -> torch.Tensor:
    """The mean over each map's matched cells, summed over the maps.

    `prototypes` float32 ``[B,M,h,w]``. Of the T targets, `masks` uint8 ``[T,h,w]`` is the covered share of each cell,
    of 255, `xywh` is the box in input pixels, four for a cell, and `image` its index in the batch. Only the cells that
    a box touches are computed, target by target: all cells would be thirty times as many.
    """
    zero = prototypes.new_zeros(())
    if not answers:
        return zero
    coefficients = torch.cat([part.coefficients for part in answers])
    target = torch.cat([part.target for part in answers])
    share = torch.cat(
        [part.coefficients.new_full((len(part.target),), 1 / len(part.target)) for part in answers]
    )
    order = target.argsort()
    counts = target.bincount()
    wanted = counts.nonzero().flatten()
    sizes = counts[wanted].tolist()
    windows = _windows(xywh[wanted], masks.shape[1], masks.shape[2])
    total = zero
    groups = zip(
        wanted.tolist(),
        image[wanted].tolist(),
        windows,
        torch.split(coefficients[order], sizes),
        torch.split(share[order], sizes),
        strict=True,
    )
    for which, place, (left, top, right, bottom), mixing, weight in groups:
        area = (bottom - top) * (right - left)
        logits = mixing @ prototypes[place, :, top:bottom, left:right].reshape(-1, area)
        truth = masks[which, top:bottom, left:right].reshape(1, area).to(logits.dtype) / 255
        loss = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none")
        total = total + (loss.mean(1) * weight).sum()
    return total


def _windows(xywh: torch.Tensor, height: int, width: int) -> list[list[int]]:
    """The cells that boxes touch, at least one: left, top, right, bottom."""
    low = ((xywh[:, :2] - xywh[:, 2:] / 2) / 4).floor()
    high = ((xywh[:, :2] + xywh[:, 2:] / 2) / 4).ceil()
    limits = xywh.new_tensor([width, height])
    low = torch.minimum(low.clamp(min=0), limits - 1)
    high = torch.minimum(torch.maximum(high, low + 1), limits)
    found: list[list[int]] = torch.cat([low, high], 1).long().tolist()
    return found
