"""Training of a YOLOv5 detector, with or without masks: its batches and its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edgevision.datasets.boxes import BoxDataset, BoxLabels
from edgevision.models.plan import DetectorPlan, InstancePlan
from edgevision.models.yolov5.model import YoloV5
from edgevision.train.data.box_augmentation import BoxAugmentation, Sample, draw_sample
from edgevision.train.data.pictures import Picture
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.schedule import TrainingProgress
from edgevision.train.tasks.yolo_loss import LossWeights, Targets, YoloLoss

TensorOf = Callable[[torch.Tensor], torch.Tensor]
"""From uint8 frames ``[B,H,W,3]`` to the network's input."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxBatch:
    """`frames` uint8 ``[B,S,S,3]`` BGR and all their boxes, with masks if the plan has them."""

    frames: torch.Tensor
    targets: Targets


class BoxDrawer:
    """Draws batches from images in memory, by the plan's phase at a share of the training."""

    def __init__(
        self,
        dataset: BoxDataset,
        pictures: tuple[Picture, ...],
        plan: DetectorPlan,
    ) -> None:
        self.dataset, self.pictures, self.plan = dataset, pictures, plan

    def __call__(self, indices: list[int], generators: list[np.random.Generator], share: float) -> BoxBatch:
        """One sample for each index, from its own generator; `share` of the training is over when it is used."""
        phase = self.plan.phase(share)
        augmentation = BoxAugmentation(
            size=max(32, round(self.plan.size * phase.size / 32) * 32),
            long_side=round(self.plan.size * phase.long_side),
            gain=phase.gain,
            mosaic=phase.mosaic,
            masks=isinstance(self.plan, InstancePlan),
        ).weakened(self.plan.augment)
        samples = [
            draw_sample(index, self._source, len(self.dataset), augmentation, rng)
            for index, rng in zip(indices, generators, strict=True)
        ]
        return batch_from_samples(samples, masks=augmentation.masks)

    def _source(self, index: int) -> tuple[Picture, BoxLabels]:
        return self.pictures[index], self.dataset.boxes[index]


def batch_from_samples(samples: list[Sample], *, masks: bool = False) -> BoxBatch:
    """Stack samples of one size."""
    image = np.concatenate([np.full(len(s.labels), place, np.int64) for place, s in enumerate(samples)])
    label = np.concatenate([s.labels for s in samples])
    xyxy = np.concatenate([s.xyxy for s in samples])
    xywh = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1)
    frames = torch.from_numpy(np.stack([s.image for s in samples]))
    drawn = torch.from_numpy(np.concatenate([s.masks for s in samples])) if masks else None
    targets = Targets(torch.from_numpy(image), torch.from_numpy(label), torch.from_numpy(xywh).float(), drawn)
    return BoxBatch(frames, targets)


class DetectorInTraining(ModuleInTraining[BoxBatch]):
    """YOLOv5 with its loss."""

    model: YoloV5

    def __init__(
        self, model: YoloV5, plan: DetectorPlan, progress: TrainingProgress, seed: int, tensor_of: TensorOf
    ) -> None:
        super().__init__(model, plan.optimization, progress, seed)
        self.tensor_of = tensor_of
        self.anchors_px = tuple(tuple((float(w), float(h)) for w, h in scale) for scale in model.anchors_px)
        weights = LossWeights(masks=plan.mask_weight) if isinstance(plan, InstancePlan) else LossWeights()
        self.loss = YoloLoss(
            self.anchors_px, model.strides, model.class_count, weights, mask_count=model.mask_count
        )

    def losses(self, batch: BoxBatch) -> dict[str, torch.Tensor]:
        """The weighted sum, and its parts before weighting."""
        outputs = self.model(self.tensor_of(batch.frames))
        masks = self.model.mask_count > 0
        parts = self.loss(outputs[: len(self.anchors_px)], batch.targets, outputs[-1] if masks else None)
        found = {
            "loss": parts.total,
            "box": parts.box,
            "objectness": parts.objectness,
            "classes": parts.classes,
        }
        return found | ({"masks": parts.masks} if masks else {})

    def last_layers(self) -> Iterable[nn.Module]:
        """The head's convolutions."""
        return self.model.detect.m

    def moved(self, batch: BoxBatch, device: torch.device) -> BoxBatch:
        """The batch on a device."""
        return BoxBatch(batch.frames.to(device, non_blocking=True), batch.targets.to(device))
