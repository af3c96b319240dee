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
from edgevision.train.data.pictures import Picture
from edgevision.train.data.workers import Draw
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
    draw: Draw[Any] | None = None
    """Draws batches; None: images without anything else."""
    measure: Callable[[SampleMeasure], dict[str, float]] | None = None
    """Metrics of what the averaged weights make; None: those of samples from noise."""
    samples: Callable[[], Picture] | None = None
    """Draws examples; None: ten samples of each class."""
    facts: tuple[str, ...] = ()
    """Further facts for the user."""


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
        if parts.measure is not None:
            return parts.measure(measure) | parts.further()
        return measure.row(parts.generator(), parts.noise, module.device) | parts.further()

    parameters = sum(parameter.numel() for parameter in module.model.parameters())
    return TrainingTask(
        module=module,
        count=len(split.train),
        draw=parts.draw or ImageDrawer(split.train, plan.augment),
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
        facts=(*split.facts, f"{parameters:,} parameters", *parts.facts),
        samples=parts.samples
        or sheet_of(parts.generator, len(split.classes), parts.noise, lambda: module.device),
    )
