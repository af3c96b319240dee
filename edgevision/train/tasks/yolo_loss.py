"""The loss of YOLOv5's anchor head: matching of boxes to cells, and the losses of their outputs.

Written from the published description: YOLOv5's documentation ("Architecture summary": losses, balance, build targets),
YOLOv4 (arXiv 2004.10934) and the papers named at each formula; masks as in YOLACT (arXiv 1904.02689, section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from edgevision.train.tasks.mask_loss import MaskAnswers, mask_loss


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the three parts, and the matching limit."""

    box: float = 0.05
    objectness: float = 1.0
    """At 640 px; scaled by the number of cells, since the mean over cells dilutes a constant number of positives."""
    classes: float = 0.5
    """At 80 classes; scaled by their number."""
    balance: tuple[float, ...] = (4.0, 1.0, 0.4)
    """Objectness of strides 8, 16, 32: small objects are many and hard, large ones few."""
    masks: float = 0.05
    ratio_limit: float = 4.0
    """An anchor matches a box if neither side differs by more than this factor."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """All boxes of a batch: `image` int64 ``[T]``, `label` int64 ``[T]``, `xywh` float32 ``[T,4]`` in input pixels.

    `masks` uint8 ``[T,S/4,S/4]`` if masks are trained: the share of each cell that the object covers, of 255.
    """

    image: torch.Tensor
    label: torch.Tensor
    xywh: torch.Tensor
    masks: torch.Tensor | None = None

    def to(self, device: torch.device) -> Targets:
        """Copy to another device."""
        return Targets(
            self.image.to(device, non_blocking=True),
            self.label.to(device, non_blocking=True),
            self.xywh.to(device, non_blocking=True),
            None if self.masks is None else self.masks.to(device, non_blocking=True),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The matched cells of one map: int64 ``[M]``; `xywh` ``[M,4]`` in cells, from the cell's corner."""

    image: torch.Tensor
    anchor: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor
    label: torch.Tensor
    xywh: torch.Tensor
    target: torch.Tensor
    """Index of the target."""


@dataclass(frozen=True, slots=True, eq=False)
class LossParts:
    """The weighted total, to be differentiated, and the plain parts."""

    total: torch.Tensor
    box: torch.Tensor
    objectness: torch.Tensor
    classes: torch.Tensor
    masks: torch.Tensor


def match(
    targets: Targets, anchors_cells: torch.Tensor, map_hw: tuple[int, int], ratio_limit: float
) -> Matches:
    """Match boxes to a map's anchors ``[A,2]`` (in cells) by side ratios, and to up to three cells each.

    A box matches the cell of its centre and the nearer horizontal and vertical neighbours. A cell's prediction ranges
    from -0.5 to 1.5 cells, so both can reach the centre (YOLOv5, "build targets"). `targets.xywh` is in cells here.
    """
    height, width = map_hw
    anchor_count = len(anchors_cells)
    ratio = targets.xywh[None, :, 2:] / anchors_cells[:, None]
    fits = torch.maximum(ratio, 1 / ratio).amax(2) < ratio_limit
    anchor, which = fits.nonzero(as_tuple=True)
    assert anchor_count == 0 or anchor.numel() == 0 or int(anchor.max()) < anchor_count
    xy = targets.xywh[which, :2]
    cell = xy.floor()
    inside = xy - cell
    limits = torch.tensor([width, height], device=xy.device)
    # One of -1, +1 per axis: the side of the cell on which the centre lies.
    step = torch.where(inside < 0.5, -1.0, 1.0)
    neighbour = cell + step
    exists = (neighbour >= 0) & (neighbour < limits)
    shifts = torch.stack(
        [torch.zeros_like(step), step * step.new_tensor([1, 0]), step * step.new_tensor([0, 1])]
    )
    taken = torch.stack([torch.ones_like(exists[:, 0]), exists[:, 0], exists[:, 1]])
    shift, pair = taken.nonzero(as_tuple=True)
    cell = (cell[pair] + shifts[shift, pair]).clamp(min=0)
    cell = torch.minimum(cell, limits - 1)
    which, anchor = which[pair], anchor[pair]
    xywh = torch.cat([targets.xywh[which, :2] - cell, targets.xywh[which, 2:]], 1)
    row, column = cell[:, 1].long(), cell[:, 0].long()
    return Matches(targets.image[which], anchor, row, column, targets.label[which], xywh, which)


def complete_iou(left_xywh: torch.Tensor, right_xywh: torch.Tensor, eps: float = 1e-7) -> torch.Tensor:
    """CIoU of paired boxes ``[M,4]``: overlap, distance of centres, aspect ratio (arXiv 1911.08287, section 3.2)."""
    (lx, ly, lw, lh), (rx, ry, rw, rh) = left_xywh.unbind(1), right_xywh.unbind(1)
    overlap_w = torch.minimum(lx + lw / 2, rx + rw / 2) - torch.maximum(lx - lw / 2, rx - rw / 2)
    overlap_h = torch.minimum(ly + lh / 2, ry + rh / 2) - torch.maximum(ly - lh / 2, ry - rh / 2)
    intersection = overlap_w.clamp(min=0) * overlap_h.clamp(min=0)
    iou = intersection / (lw * lh + rw * rh - intersection + eps)
    hull_w = torch.maximum(lx + lw / 2, rx + rw / 2) - torch.minimum(lx - lw / 2, rx - rw / 2)
    hull_h = torch.maximum(ly + lh / 2, ry + rh / 2) - torch.minimum(ly - lh / 2, ry - rh / 2)
    distance = ((lx - rx) ** 2 + (ly - ry) ** 2) / (hull_w**2 + hull_h**2 + eps)
    aspect = (4 / math.pi**2) * (torch.atan(rw / (rh + eps)) - torch.atan(lw / (lh + eps))) ** 2
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + eps)
    return iou - distance - weight * aspect


class YoloLoss:
    """CIoU of matched cells, objectness with that IoU as its target, binary cross entropy of the classes.

    With a `mask_count` the matched cells' coefficients form masks, whose loss is added.
    """

    def __init__(
        self,
        anchors_px: tuple[tuple[tuple[float, float], ...], ...],
        strides: tuple[int, ...],
        class_count: int,
        weights: LossWeights,
        *,
        mask_count: int = 0,
    ) -> None:
        self.anchors_px, self.strides, self.class_count = anchors_px, strides, class_count
        self.weights, self.mask_count = weights, mask_count

    def __call__(
        self, maps: list[torch.Tensor], targets: Targets, prototypes: torch.Tensor | None = None
    ) -> LossParts:
        """`maps` are the head's logits ``[B, A*(5+C+M), h, w]`` by stride, `prototypes` ``[B,M,S/4,S/4]``."""
        maps = [values.float() for values in maps]
        zero = maps[0].new_zeros(())
        box, objectness, classes, masks = zero, zero, zero, zero
        mixed: list[MaskAnswers] = []
        for index, values in enumerate(maps):
            part = self._level(values, targets, index, mixed)
            box, classes = box + part[0], classes + part[2]
            objectness = objectness + part[1] * self.weights.balance[index]
        if prototypes is not None:
            assert targets.masks is not None, "the mask loss needs masks in the targets"
            masks = mask_loss(mixed, prototypes.float(), targets.masks, targets.xywh, targets.image)
        pixels = maps[0].shape[2] * maps[0].shape[3] * self.strides[0] ** 2
        total = (
            self.weights.box * box
            + self.weights.objectness * (pixels / 640**2) * objectness
            + self.weights.classes * (self.class_count / 80) * classes
            + self.weights.masks * masks
        )
        return LossParts(total, box.detach(), objectness.detach(), classes.detach(), masks.detach())

    def _level(
        self, values: torch.Tensor, targets: Targets, index: int, mixed: list[MaskAnswers]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Losses of boxes, objectness and classes; inputs of the masks are appended to `mixed`."""
        batch, _, height, width = values.shape
        anchors = values.new_tensor(self.anchors_px[index]) / self.strides[index]
        values = values.view(batch, len(anchors), 5 + self.class_count + self.mask_count, height, width)
        in_cells = Targets(targets.image, targets.label, targets.xywh / self.strides[index])
        found = match(in_cells, anchors, (height, width), self.weights.ratio_limit)
        wanted = torch.zeros_like(values[:, :, 4])
        zero = values.new_zeros(())
        box, classes = zero, zero
        if len(found.image):
            answers = values[found.image, found.anchor, :, found.row, found.column]
            answers, coefficients = torch.split(answers, [5 + self.class_count, self.mask_count], 1)
            mixed.append(MaskAnswers(coefficients, found.target))
            xy = 2 * answers[:, :2].sigmoid() - 0.5
            wh = (2 * answers[:, 2:4].sigmoid()) ** 2 * anchors[found.anchor]
            iou = complete_iou(torch.cat([xy, wh], 1), found.xywh)
            box = (1 - iou).mean()
            # If two boxes match a cell, the better IoU counts.
            places = (found.image, found.anchor, found.row, found.column)
            score = iou.detach().clamp(min=0)
            order = score.argsort()
            wanted[tuple(place[order] for place in places)] = score[order]
            if self.class_count > 1:
                truth = F.one_hot(found.label, self.class_count).to(answers.dtype)
                classes = F.binary_cross_entropy_with_logits(answers[:, 5:], truth)
        objectness = F.binary_cross_entropy_with_logits(values[:, :, 4], wanted)
        return box, objectness, classes
