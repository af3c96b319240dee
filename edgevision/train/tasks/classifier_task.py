"""The task of training a classifier: data, network and validation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgevision.contract.spec import Fit, FrameInput
from edgevision.errors import UsageError
from edgevision.models.cnn import Cnn
from edgevision.models.plan import ClassifierPlan
from edgevision.models.resnet import resnet
from edgevision.train.data.class_images import ClassSplit, read_classes
from edgevision.train.generation.augmentation import generated_images
from edgevision.train.job import Job, TrainingTask, progress_of, settings_json
from edgevision.train.starting import started
from edgevision.train.tasks.classifier import (
    ClassDrawer,
    ClassifierInTraining,
    balanced_order,
    measure_classifier,
    mixed_order,
)
from edgevision.train.tasks.detector import TensorOf

Labels = npt.NDArray[np.int64]

_SMALL_PX = 48
"""Images up to this size use ResNet's stem for small images, which does not reduce the resolution."""


def classifier_task(
    job: Job, plan: ClassifierPlan, tensor_of: TensorOf, fit: Fit, crop_fraction: float
) -> TrainingTask:
    """Read all data of the job; raises `UsageError` and `SourceError`."""
    held = Path(job.held) if job.held else None
    split = read_classes(Path(job.data), held, longest_side=2 * plan.size, seed=job.seed, strict=job.strict)
    classes, real = split.train.classes, split.train.labels
    if len(classes) < 2:
        raise UsageError(f"{job.data} holds {len(classes)} class; a classifier needs two or more")
    if job.monitor is not None and job.monitor not in classes:
        raise UsageError(f"--monitor {job.monitor!r} is not one of {', '.join(classes)}")
    added = generated_images(job, classes)
    if added is not None:
        split = replace(split, train=split.train.with_images(added.pictures, added.labels))
    progress = progress_of(job, len(split.train))
    network = _network(plan, len(classes))
    beginning = started(network, job.weights, plan.model)
    module = ClassifierInTraining(network, plan, progress, job.seed, tensor_of)
    frames = FrameInput((plan.size, plan.size), fit=fit, crop_fraction=crop_fraction)
    return TrainingTask(
        module=module,
        count=len(split.train),
        draw=ClassDrawer(split.train, plan),
        order=_order(job, real, len(split.train), len(classes)),
        measure=lambda: measure_classifier(
            module.average.model, split.held, frames, tensor_of, module.device
        ),
        monitor=f"recall {job.monitor}" if job.monitor else "mean recall" if job.balance else "top1",
        panels=(
            ("loss, share wrong in training", ("loss", "wrong")),
            ("on the validation data, %", ("top1", "mean recall")),
            ("learning rate, share of the peak", ("lr",)),
        ),
        metadata={
            "names": json.dumps(classes),
            "recipe": job.recipe,
            "size": json.dumps([plan.size, plan.size]),
            "torch": torch.__version__,
            "job": settings_json(job),
        },
        facts=(*_facts(split, len(real)), *beginning, *(() if added is None else (added.fact,))),
    )


def _order(
    job: Job, real: Labels, count: int, classes: int
) -> Callable[[np.random.Generator], Labels] | None:
    """The order of an epoch's `count` samples, the first of which are real; None: a permutation."""
    if count > len(real):
        return lambda rng: mixed_order(real, count - len(real), classes if job.balance else None, rng)
    return (lambda rng: balanced_order(real, classes, rng)) if job.balance else None


def _network(plan: ClassifierPlan, class_count: int) -> nn.Module:
    if plan.model == "cnn":
        return Cnn(class_count)
    stem = "cifar" if plan.size <= _SMALL_PX else "imagenet"
    return resnet(int(plan.model.removeprefix("resnet")), class_count, stem=stem)  # type: ignore[arg-type]  # one of its literals


def _facts(split: ClassSplit, real: int) -> tuple[str, ...]:
    counts = split.train.subset(np.arange(real)).counts()
    rarest = min(counts, key=lambda name: counts[name])
    return (
        f"{real} images of {len(counts)} classes, {len(split.held)} held; {split.source}",
        *dict.fromkeys((*split.train.warnings, *split.held.warnings)),
        f"the rarest class, {rarest}, has {counts[rarest]} images, the most frequent {max(counts.values())}",
    )
