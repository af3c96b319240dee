"""Training of diffusion models."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.models.generators.diffusion import Denoiser, noisy
from edgevision.models.plan import DiffusionPlan
from edgevision.train.data.image_arrays import ImageBatch
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.schedule import TrainingProgress


class DiffusionInTraining(ModuleInTraining[ImageBatch]):
    """A denoiser with the mean squared error of its prediction as the loss, at times that are spread evenly."""

    model: Denoiser

    def __init__(self, model: Denoiser, plan: DiffusionPlan, progress: TrainingProgress, seed: int) -> None:
        super().__init__(model, plan.optimization, progress, seed)
        self.plan = plan

    def losses(self, batch: ImageBatch) -> dict[str, torch.Tensor]:
        """The loss."""
        count, device = len(batch.labels), batch.labels.device
        time = spread_times(count, device)
        x, target = noisy(batch.images, torch.randn_like(batch.images), time, self.model.objective)
        hidden = torch.rand(count, device=device) < self.plan.unlabelled
        label = torch.where(hidden, self.model.classes, batch.labels)
        return {"loss": F.mse_loss(self.model(x, time, label).float(), target)}

    def last_layers(self) -> Iterable[nn.Module]:
        """The last convolution, and the table of classes, whose rows are not a matrix's."""
        return (self.model.last, self.model.embedding.label)

    def moved(self, batch: ImageBatch, device: torch.device) -> ImageBatch:
        """The batch on a device."""
        return batch.to(device)


def spread_times(count: int, device: torch.device) -> torch.Tensor:
    """Random times ``[count]``, one in each of as many equal parts of 0..1."""
    return (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
