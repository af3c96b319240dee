"""Distillation of a diffusion model into one of few steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from edgevision.checkpoint.reading import read_run
from edgevision.errors import UsageError
from edgevision.models.generators.diffusion import Denoiser, denoiser_from_state_dict
from edgevision.models.generators.sampler import Sampler, course
from edgevision.models.plan import DiffusionPlan
from edgevision.train.data.image_arrays import ImageBatch, ImageSplit
from edgevision.train.generation.diffusion import DiffusionInTraining
from edgevision.train.loop.schedule import TrainingProgress

_RATE = 0.25
"""Learning rates of a student as a share of the plan's: it starts from the teacher's weights."""
_EMA_DECAY = 0.99


class Trajectories:
    """Samplings of a teacher with its guidance, and their images at the times of the student.

    Batch number k depends only on the seed and k, so that a resumed run draws from the same ones.
    """

    def __init__(self, teacher: Denoiser, plan: DiffusionPlan, seed: int) -> None:
        self.sampler = Sampler(teacher, plan.steps * plan.teacher_steps).eval().requires_grad_(False)
        self.plan, self.seed = plan, seed
        self.labels: list[torch.Tensor] = []
        self.images: list[torch.Tensor] = []
        """One float32 ``[steps+1,B,C,S,S]`` for each batch, from the noise to the image."""

    def extend(self, batches: int, device: torch.device) -> None:
        """Compute batches up to this number; does nothing if there are as many."""
        self.sampler.to(device)
        while len(self.images) < batches:
            labels = torch.arange(self.plan.optimization.batch, device=device) % self.sampler.denoiser.classes
            self.images.append(self._sampled(labels, len(self.images)))
            self.labels.append(labels)

    def drawn(self, place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Random images at step `place` ``[B]`` of the student, those one step later, and their labels."""
        batch = torch.randint(len(self.images), place.shape)
        number = torch.randint(self.images[0].shape[1], place.shape)
        chosen = list(zip(batch.tolist(), place.tolist(), number.tolist(), strict=True))
        x = torch.stack([self.images[part][step, image] for part, step, image in chosen])
        later = torch.stack([self.images[part][step + 1, image] for part, step, image in chosen])
        return x, later, torch.stack([self.labels[part][image] for part, _, image in chosen])

    @torch.no_grad()
    def _sampled(self, labels: torch.Tensor, number: int) -> torch.Tensor:
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        x = torch.randn((len(labels), *self.sampler.denoiser.noise_shape), generator=rng).to(labels.device)
        found = course(self.sampler.denoiser, x, labels, self.sampler.schedule)
        return torch.stack(found[:: self.plan.teacher_steps])


class DistillationInTraining(DiffusionInTraining):
    """One step of the student learns where several steps of the teacher lead, with the teacher's guidance.

    This is progressive distillation (arXiv 2202.00512) of a flow, from the teacher to the number of steps at once. The
    teacher starts from noise alone, as in sampling; the first steps of the training compute its samplings.
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
        self.trajectories = Trajectories(teacher, plan, seed)

    def losses(self, batch: ImageBatch) -> dict[str, torch.Tensor]:
        """The mean squared error of the student's velocity."""
        device = batch.labels.device
        self.trajectories.extend(min(self.progress.step + 1, self.plan.teacher_batches), device)
        place = torch.arange(len(batch.labels)) % self.plan.steps
        x, later, labels = self.trajectories.drawn(place)
        time = (1 - place / self.plan.steps).to(device)
        target = (x - later) * self.plan.steps
        return {"loss": F.mse_loss(self.model(x, time, labels).float(), target)}


def read_teacher(path: Path, split: ImageSplit) -> Denoiser:
    """The trained model of a run or a checkpoint.

    Raises `UsageError` if it cannot be distilled into a student for this data.
    """
    teacher = denoiser_from_state_dict(read_run(path).tensors)
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
