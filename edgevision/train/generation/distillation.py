"""Distillation of a diffusion model into one of few steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from edgevision.checkpoint.reading import read_checkpoint
from edgevision.errors import UsageError
from edgevision.models.generators.diffusion import Denoiser, denoiser_from_state_dict, guided, noisy, times
from edgevision.models.plan import DiffusionPlan
from edgevision.train.data.image_arrays import ImageBatch, ImageSplit
from edgevision.train.generation.diffusion import DiffusionInTraining
from edgevision.train.loop.schedule import TrainingProgress

_RATE = 0.25
"""Learning rates of a student as a share of the plan's: it starts from the teacher's weights."""
_EMA_DECAY = 0.99


class DistillationInTraining(DiffusionInTraining):
    """One step of the student learns where several steps of the teacher lead, with the teacher's guidance.

    This is progressive distillation (arXiv 2202.00512) of a flow, from the teacher to the number of steps at once. Each
    step of the student starts at its own time, from a real image and noise.
    """

    def __init__(
        self, student: Denoiser, teacher: Denoiser, plan: DiffusionPlan, progress: TrainingProgress, seed: int
    ) -> None:
        gentle = replace(
            plan.optimization,
            lr_filters=_RATE * plan.optimization.lr_filters,
            lr_others=_RATE * plan.optimization.lr_others,
            ema_decay=_EMA_DECAY,
        )
        super().__init__(student, replace(plan, optimization=gentle), progress, seed)
        # In a tuple, so that checkpoints do not hold the teacher.
        self._teacher = (teacher.eval().requires_grad_(False),)
        self.guidance = float(teacher.guidance)
        self.times = torch.tensor(times(plan.steps, "flow"))

    def losses(self, batch: ImageBatch) -> dict[str, torch.Tensor]:
        """The mean squared error of the student's velocity."""
        place = torch.arange(len(batch.labels), device=batch.labels.device) % self.plan.steps
        bounds = self.times.to(batch.labels.device)
        start, end = bounds[place], bounds[place + 1]
        x, _ = noisy(batch.images, torch.randn_like(batch.images), start, "flow")
        length = (start - end).view(-1, 1, 1, 1)
        target = (x - self._followed(x, start, end, batch.labels)) / length
        return {"loss": F.mse_loss(self.model(x, start, batch.labels).float(), target)}

    @torch.no_grad()
    def _followed(
        self, x: torch.Tensor, start: torch.Tensor, end: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """The images at time `end`, by equal steps of the teacher."""
        teacher = self._teacher[0].to(x.device)
        length = (start - end) / self.plan.teacher_steps
        for place in range(self.plan.teacher_steps):
            velocity = guided(teacher, x, start - place * length, labels, self.guidance)
            x = x - length.view(-1, 1, 1, 1) * velocity
        return x


def read_teacher(path: Path, split: ImageSplit) -> Denoiser:
    """The trained model of a run or a checkpoint.

    Raises `UsageError` if it cannot be distilled into a student for this data.
    """
    file = path / "best.safetensors" if path.is_dir() else path
    teacher = denoiser_from_state_dict(read_checkpoint(file).tensors)
    if teacher.objective != "flow":
        raise UsageError(
            f"--distill-from {path} was trained with --model {teacher.objective}; only --model flow can be distilled"
        )
    expected = (len(split.classes), *split.train.images.shape[1:])
    if (teacher.classes, *teacher.noise_shape) != expected:
        raise UsageError(
            f"--distill-from {path} makes images of {_described(teacher.classes, *teacher.noise_shape)}; the data has"
            f" {_described(*expected)}"
        )
    return teacher


def _described(classes: int, channels: int, height: int, width: int) -> str:
    return f"{classes} classes, {channels} channels and {width}x{height} px"
