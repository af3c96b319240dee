"""Training of a segmenter: its batches, its losses and its validation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edgevision.contract.image import fit_frame
from edgevision.contract.spec import FrameInput
from edgevision.evaluation.segmentation import (
    VOID,
    SegmentationAccuracy,
    accuracy_from_confusion,
    confusion_matrix,
)
from edgevision.models.plan import SegmenterPlan
from edgevision.train.data.label_masks import MaskDataset
from edgevision.train.data.mask_augmentation import draw_masked
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.schedule import TrainingProgress
from edgevision.train.tasks.detector import TensorOf


@dataclass(frozen=True, slots=True, eq=False)
class MaskBatch:
    """`frames` uint8 ``[B,S,S,3]`` BGR, `labels` uint8 ``[B,S,S]``."""

    frames: torch.Tensor
    labels: torch.Tensor


class MaskDrawer:
    """Draws batches from images and masks in memory."""

    def __init__(self, dataset: MaskDataset, plan: SegmenterPlan) -> None:
        self.dataset, self.plan = dataset, plan

    def __call__(self, indices: list[int], generators: list[np.random.Generator], share: float) -> MaskBatch:  # noqa: ARG002  # all of the training is alike
        """One sample for each index, from its own generator."""
        drawn = [
            draw_masked(self.dataset.pictures[index], self.dataset.masks[index], self.plan, rng)
            for index, rng in zip(indices, generators, strict=True)
        ]
        frames, labels = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        return MaskBatch(frames, labels)


class SegmenterInTraining(ModuleInTraining[MaskBatch]):
    """A segmenter with cross entropy, optionally weighted by class, and Dice loss."""

    def __init__(
        self,
        model: nn.Module,
        plan: SegmenterPlan,
        progress: TrainingProgress,
        seed: int,
        tensor_of: TensorOf,
        weights: torch.Tensor,
    ) -> None:
        super().__init__(model, plan.optimization, progress, seed)
        self.plan, self.tensor_of = plan, tensor_of
        self.weights: torch.Tensor
        self.register_buffer("weights", weights, persistent=False)

    def losses(self, batch: MaskBatch) -> dict[str, torch.Tensor]:
        """Both losses and their sum; a batch that is entirely void has no effect."""
        logits = self.model(self.tensor_of(batch.frames)).float()
        labels = batch.labels.long()
        known = labels != VOID
        each = F.cross_entropy(logits, labels.where(known, 0), weight=self.weights, reduction="none")
        entropy = (each * known).sum() / known.sum().clamp(min=1)
        dice = dice_loss(logits, labels, known)
        return {"loss": entropy + self.plan.dice * dice, "entropy": entropy.detach(), "dice": dice.detach()}

    def last_layers(self) -> Iterable[nn.Module]:
        """The last convolution."""
        return [module for module in self.model.modules() if isinstance(module, nn.Conv2d)][-1:]

    def moved(self, batch: MaskBatch, device: torch.device) -> MaskBatch:
        """The batch on a device."""
        return MaskBatch(
            batch.frames.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True)
        )


def dice_loss(logits: torch.Tensor, labels: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """One minus the mean Dice coefficient over the classes in the batch (arXiv 1606.04797, section 3).

    `logits` ``[B,C,H,W]``, `labels` int64 ``[B,H,W]``; only those under `known` count. With probabilities p and labels
    g in {0, 1} a class's coefficient is 2 sum(p g) / (sum(p^2) + sum(g)).
    """
    found = logits.softmax(1) * known[:, None]
    truth = torch.zeros_like(found).scatter_(1, labels.where(known, 0)[:, None], 1.0) * known[:, None]
    both = (found * truth).sum((0, 2, 3))
    each = (found.square() + truth).sum((0, 2, 3))
    shown = truth.sum((0, 2, 3)) > 0
    return 1 - (2 * both / each.clamp(min=1))[shown].sum() / shown.sum().clamp(min=1)


def class_weights(shares: Iterable[float]) -> torch.Tensor:
    """Weights ``1 / ln(1.02 + share)``, of mean 1: rare classes count up to fifty times as much (arXiv 1606.02147)."""
    weights = 1 / torch.log(1.02 + torch.tensor(list(shares)))
    return weights / weights.mean()


def measure_segmenter(
    model: nn.Module, held: MaskDataset, frames: FrameInput, tensor_of: TensorOf, device: torch.device
) -> dict[str, float]:
    """Mean IoU, the share of correct pixels and each class's IoU, in percent, over whole images of their own size."""
    found = accuracy(model, held, frames, tensor_of, device)
    ious = {f"IoU {row.name}": row.iou for row in found.classes if row.share}
    return {"mIoU": found.miou, "pixels": found.pixels} | ious


def accuracy(
    model: nn.Module, held: MaskDataset, frames: FrameInput, tensor_of: TensorOf, device: torch.device
) -> SegmentationAccuracy:
    """Compare the network's results for images with their labels."""
    count = len(held.classes)
    confusion = np.zeros((count, count), np.int64)
    with torch.inference_mode():
        for picture, mask in zip(held.pictures, held.masks, strict=True):
            frame, placement = fit_frame(picture, frames)
            logits = model(tensor_of(torch.from_numpy(frame[None]).to(device)))
            labels = logits[0].argmax(0).to(torch.uint8).cpu().numpy()
            confusion += confusion_matrix(mask, placement.frame_from_input_mask(labels), count)
    return accuracy_from_confusion(held.classes, confusion, len(held))
