"""The parts that training tasks of all generators share: data, validation, samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgevision.errors import UsageError
from edgevision.models.plan import GeneratorPlan
from edgevision.train.data.image_arrays import ImageDrawer, ImageSplit, read_images
from edgevision.train.generation.sampling import MONITOR, PANELS, Noise, SampleMeasure, sheet_of
from edgevision.train.job import Job, TrainingTask, settings_json
from edgevision.train.loop.module import ModuleInTraining


@dataclass(frozen=True, slots=True, eq=False)
class GeneratorParts:
    """The parts of a task that depend on the kind of generator."""

    module: ModuleInTraining[Any]
    generator: Callable[[], nn.Module]
    """The averaged weights as a module (noise, label) -> image."""
    noise: Noise
    losses: tuple[str, tuple[str, ...]]
    """Title and columns of the curves of losses."""
    further: Callable[[], dict[str, float]] = dict
    """Further metrics of the averaged weights."""


def read_split(job: Job, plan: GeneratorPlan) -> ImageSplit:
    """The job's data; raises `UsageError` for options that generators do not have."""
    if job.classes is not None or job.monitor is not None or job.balance:
        raise UsageError("generators learn all classes alike: omit --classes, --monitor and --balance")
    return read_images(job, plan.size)


def generator_task(job: Job, plan: GeneratorPlan, split: ImageSplit, parts: GeneratorParts) -> TrainingTask:
    """The task of a generator in training."""
    measure = SampleMeasure(split, Path(job.judge) if job.judge else None, plan.samples, job.seed)
    module = parts.module

    def metrics() -> dict[str, float]:
        return measure.row(parts.generator(), parts.noise, module.device) | parts.further()

    parameters = sum(parameter.numel() for parameter in module.model.parameters())
    return TrainingTask(
        module=module,
        count=len(split.train),
        draw=ImageDrawer(split.train),
        order=None,
        measure=metrics,
        monitor=MONITOR,
        panels=(parts.losses, *PANELS),
        metadata={
            "names": json.dumps(split.classes),
            "recipe": job.recipe,
            "size": json.dumps([plan.size, plan.size]),
            "torch": torch.__version__,
            "job": settings_json(job),
        },
        facts=(*split.facts, f"{parameters:,} parameters"),
        samples=sheet_of(parts.generator, len(split.classes), parts.noise, lambda: module.device),
    )
