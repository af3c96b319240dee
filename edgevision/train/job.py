"""Runs a training job of any task, from its settings to its run folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt

from edgevision.errors import UsageError
from edgevision.models.plan import Plan
from edgevision.storage.codec import json_from_dataclass
from edgevision.train.data.pictures import Picture
from edgevision.train.data.stream import BatchStream
from edgevision.train.data.workers import Draw, translated_failures
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.recorder import Recorder
from edgevision.train.loop.run_folder import RunFolder
from edgevision.train.loop.schedule import TrainingProgress


@dataclass(frozen=True, slots=True)
class Job:
    """All settings of a run. With the data they determine its result, unless `minutes` limits it by time."""

    recipe: str
    data: str
    images: str | None
    held: str | None
    held_images: str | None
    classes: str | None
    monitor: str | None
    """The class whose metric selects the best weights; None: the mean over all."""
    balance: bool
    epochs: int | None
    minutes: float | None
    patience: int | None
    """Validations without improvement after which training stops early."""
    seed: int
    plan: Plan
    names: str | None = None
    """A file with the class names of a YOLO folder, one on each line."""
    weights: str | None = None
    """A checkpoint to start from, as far as its tensors fit; None: random weights."""
    teacher: str | None = None
    """The run or checkpoint of a diffusion model that is distilled into one of fewer steps."""
    judge: str | None = None
    """The run or checkpoint whose features measure images; None: the included one.

    Of a classifier for generators, of a detector for style transfer.
    """
    styles: str | None = None
    """The folder with the images of styles."""
    generated: str | None = None
    """The run or checkpoint of a generator whose images a classifier learns too."""
    generated_count: int | None = None
    """Number of these images."""
    strict: bool = False
    """Stop at the first image that cannot be decoded instead of skipping a few."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """Devices of a run, as Lightning names them; not part of the job, so that a run can move."""

    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    nodes: int = 1
    """Machines; each is started with the same command, by torchrun."""
    workers: int = 0
    """Processes of each device that draw samples; 0: a thread draws them."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingTask:
    """The parts of a run that depend on the task."""

    module: ModuleInTraining[Any]
    count: int
    """Number of training images."""
    draw: Draw[Any]
    order: Callable[[np.random.Generator], npt.NDArray[np.int64]] | None
    measure: Callable[[], dict[str, float]]
    """Metrics of the averaged weights on the validation data, in percent."""
    monitor: str | None
    """The metric that selects the best weights, the larger the better; None: the last weights."""
    panels: Sequence[tuple[str, Sequence[str]]]
    metadata: Mapping[str, str]
    facts: Sequence[str]
    """Facts about the data for the user, one line each."""
    samples: Callable[[], Picture] | None = None
    """An image that shows what the averaged weights make; written with the best weights."""


_PATHS = (
    "data",
    "images",
    "held",
    "held_images",
    "names",
    "weights",
    "teacher",
    "judge",
    "styles",
    "generated",
)


def settings_json(job: Job) -> str:
    """The job for the weights' metadata; only the names of paths, which describe the machine rather than the model."""
    names = {name: _name(getattr(job, name)) for name in _PATHS}
    return json.dumps(json_from_dataclass(replace(job, **names)))


def _name(path: str | None) -> Any:
    return None if path is None else Path(path).name


def steps_per_epoch(count: int, batch: int) -> int:
    """Full batches in an epoch; at least one."""
    return max(1, count // batch)


def progress_of(job: Job, count: int) -> TrainingProgress:
    """By the clock if the job has minutes, else by its epochs; raises `UsageError` if it has neither."""
    if job.minutes is not None:
        return TrainingProgress(budget_s=60 * job.minutes)
    if job.epochs is None:
        raise UsageError("set the length of the training: --epochs N, or --minutes N")
    return TrainingProgress(total_steps=job.epochs * steps_per_epoch(count, job.plan.optimization.batch))


def run_job(
    job: Job,
    task: TrainingTask,
    run: RunFolder,
    hardware: Hardware,
    *,
    resume: bool,
    report: Callable[[str], None],
) -> None:
    """Train, write the run folder after each epoch, and end with a validation of the averaged weights."""
    recorder = Recorder(
        run,
        task.measure,
        task.metadata,
        every=job.plan.optimization.validate_every,
        monitor=task.monitor,
        patience=job.patience,
        panels=task.panels,
        report=report,
        samples=task.samples,
    )
    trainer = lightning.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy="ddp" if hardware.devices * hardware.nodes > 1 else "auto",
        precision=hardware.precision,  # type: ignore[arg-type]  # Lightning's literal of names
        max_epochs=job.epochs if job.minutes is None else -1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        callbacks=[recorder],
    )
    if trainer.is_global_zero:
        if resume:
            run.sweep()
        else:
            run.begin(json_from_dataclass(job))
        for fact in task.facts:
            report(fact)
    # A run that was killed within its first epoch has no checkpoint: it restarts.
    last = run.last if resume and run.last.is_file() else None
    stream = _stream(job, task, trainer, hardware.workers)
    try:
        with translated_failures():
            trainer.fit(task.module, stream, ckpt_path=last, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        stream.close()


def _stream(job: Job, task: TrainingTask, trainer: lightning.Trainer, workers: int) -> BatchStream[Any]:
    return BatchStream(
        task.count,
        job.plan.optimization.batch,
        task.draw,
        seed=job.seed,
        rank=trainer.global_rank,
        world=trainer.world_size,
        order=task.order,
        share_at=task.module.progress.share_at,
        workers=workers,
    )
