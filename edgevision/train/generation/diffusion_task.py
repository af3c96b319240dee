"""The tasks of training a diffusion model, and of distilling one."""

from __future__ import annotations

import copy
from pathlib import Path

from edgevision.errors import UsageError
from edgevision.models.generators.diffusion import Denoiser
from edgevision.models.generators.sampler import Sampler
from edgevision.models.plan import DiffusionPlan
from edgevision.train.data.image_arrays import ImageSplit
from edgevision.train.generation.diffusion import DiffusionInTraining
from edgevision.train.generation.distillation import DistillationInTraining, read_teacher
from edgevision.train.generation.generator_task import GeneratorParts, generator_task, read_split
from edgevision.train.job import Job, TrainingTask, progress_of
from edgevision.train.starting import started


def diffusion_task(job: Job, plan: DiffusionPlan) -> TrainingTask:
    """Read all data of the job, and the teacher if there is one; raises `UsageError` and `SourceError`."""
    if job.teacher and job.weights:
        raise UsageError("a distillation starts from its teacher: omit --weights")
    split = read_split(job, plan)
    denoiser = Denoiser(split.train.channels, len(split.classes), plan.width, plan.model, plan.size)
    beginning = started(denoiser, job.weights)
    module = _distillation(job, plan, split) if job.teacher else _training(job, plan, split, denoiser)
    average = module.average.model
    assert isinstance(average, Denoiser)
    parts = GeneratorParts(
        module=module,
        generator=lambda: Sampler(average),
        noise=(split.train.channels, plan.size, plan.size),
        losses=("mean squared error", ("loss",)),
        facts=beginning,
    )
    return generator_task(job, plan, split, parts)


def _training(job: Job, plan: DiffusionPlan, split: ImageSplit, denoiser: Denoiser) -> DiffusionInTraining:
    denoiser.keep_sampling(plan.steps, plan.guidance, plan.interval)
    return DiffusionInTraining(denoiser, plan, progress_of(job, len(split.train)), job.seed)


def _distillation(job: Job, plan: DiffusionPlan, split: ImageSplit) -> DiffusionInTraining:
    teacher = read_teacher(Path(str(job.teacher)), split)
    student = copy.deepcopy(teacher).train()
    student.keep_sampling(plan.steps, 1.0)
    student.order.fill_(1)  # each step is learnt for itself
    return DistillationInTraining(student, teacher, plan, progress_of(job, len(split.train)), job.seed)
