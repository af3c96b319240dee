"""The task of training inpainting, and its validation: real images with holes, filled and compared with themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edgevision.errors import UsageError
from edgevision.models.generators.diffusion import Denoiser
from edgevision.models.generators.inpainting import Inpainter, inpainting_denoiser
from edgevision.models.generators.judge import levels
from edgevision.models.plan import InpaintPlan
from edgevision.train.data.holes import HALVES, centre_hole, half_hole, stroke_hole
from edgevision.train.data.image_arrays import ImageArrays
from edgevision.train.data.pictures import Picture
from edgevision.train.generation.generator_task import GeneratorParts, generator_task, read_split
from edgevision.train.generation.inpainting import HoleDrawer, InpaintingInTraining, start_from
from edgevision.train.generation.sampling import SampleMeasure, sheet
from edgevision.train.job import Job, TrainingTask, progress_of

Images = npt.NDArray[np.uint8]

_BATCH = 100
_GREY = 128
_GENTLE = 0.5
"""Learning rates as a share of the plan's, if the training starts from given weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """Images uint8 ``[N,C,S,S]`` whose holes uint8 ``[N,S,S]`` are filled, with a label ``[N]`` each."""

    images: Images
    holes: Images
    labels: npt.NDArray[np.int64]

    def filled(self, model: Inpainter, seed: int, device: torch.device | None = None) -> Images:
        """The filled images, uint8 ``[N,C,S,S]``; they depend only on the seed."""
        channels = self.images.shape[1]
        frames = np.repeat(self.images, 3, 1) if channels == 1 else self.images[:, ::-1]
        frames = np.ascontiguousarray(frames.transpose(0, 2, 3, 1))
        rng, found = torch.Generator().manual_seed(seed), []
        with torch.inference_mode():
            for start in range(0, len(frames), _BATCH):
                rows = slice(start, start + _BATCH)
                noise = torch.randn(self.images[rows].shape, generator=rng)
                parts = (frames[rows], self.holes[rows] * np.uint8(255), self.labels[rows])
                given = (torch.from_numpy(part).to(device) for part in parts)
                found.append(levels(model(noise.to(device), *given).float())[:, :channels])
        return np.concatenate(found)

    def without(self) -> Images:
        """The images with grey holes."""
        return np.where(self.holes[:, None] > 0, np.uint8(_GREY), self.images)


def alternating_holes(count: int, size: int) -> Images:
    """The box in the centre and each of the four halves in turn, uint8 ``[N,S,S]``."""
    kinds = [centre_hole(size), *(half_hole(size, which) for which in range(HALVES))]
    return np.stack([kinds[place % len(kinds)] for place in range(count)])


def inpaint_task(job: Job, plan: InpaintPlan) -> TrainingTask:
    """Read all data of the job; raises `UsageError` and `SourceError`."""
    if job.teacher is not None:
        raise UsageError(
            "--distill-from is for recipe diffusion; a model that fills holes cannot be distilled"
        )
    split = read_split(job, plan)
    denoiser = inpainting_denoiser(split.train.channels, len(split.classes), plan.width, plan.size)
    denoiser.steps.fill_(plan.steps)
    denoiser.guidance.fill_(plan.guidance)
    facts: tuple[str, ...] = ()
    if job.weights is not None:
        facts = (start_from(denoiser, Path(job.weights)),)
        plan = _gentle(plan)
    module = InpaintingInTraining(denoiser, plan, progress_of(job, len(split.train)), job.seed)
    average = module.average.model
    assert isinstance(average, Denoiser)
    parts = GeneratorParts(
        module=module,
        generator=lambda: Inpainter(average),
        noise=(split.train.channels, plan.size, plan.size),
        losses=("mean squared error in the holes", ("loss",)),
        draw=HoleDrawer(split.train, plan),
        measure=lambda measure: fill_row(Inpainter(average), split.held, measure, module.device),
        samples=lambda: example_sheet(Inpainter(average), split.held, len(split.classes), module.device),
        facts=facts,
    )
    return generator_task(job, plan, split, parts)


def _gentle(plan: InpaintPlan) -> InpaintPlan:
    used = plan.optimization
    slower = replace(used, lr_filters=_GENTLE * used.lr_filters, lr_others=_GENTLE * used.lr_others)
    return replace(plan, optimization=slower)


def fill_row(
    model: Inpainter, held: ImageArrays, measure: SampleMeasure, device: torch.device
) -> dict[str, float]:
    """Metrics in percent of real images with filled holes, and their agreement where the class is not given."""
    images, labels = held.images[measure.rows], held.labels[measure.rows]
    filling = Filling(images, alternating_holes(len(images), images.shape[-1]), labels)
    any_class = replace(filling, labels=np.full_like(labels, model.denoiser.classes))
    _, seen = measure.judge.judged(any_class.filled(model, measure.seed, device))
    row = measure.row_of(filling.filled(model, measure.seed, device))
    return row | {"agreement without class": 100 * float((seen == labels).mean())}


def example_sheet(model: Inpainter, held: ImageArrays, classes: int, device: torch.device) -> Picture:
    """One image of each class (a column) with a box, a half and strokes: its holes, filled with its class, without."""
    first = np.array([np.flatnonzero(held.labels == label)[:1] for label in range(classes)]).ravel()
    images, labels, size = held.images[first], held.labels[first], held.images.shape[-1]
    rng = np.random.default_rng(0)
    rows = []
    for holes in (
        [centre_hole(size) for _ in first],
        [half_hole(size, place % HALVES) for place in range(len(first))],
        [stroke_hole(size, rng) for _ in first],
    ):
        filling = Filling(images, np.stack(holes), labels)
        any_class = replace(filling, labels=np.full_like(labels, classes))
        rows += [filling.without(), filling.filled(model, 0, device), any_class.filled(model, 0, device)]
    return sheet(np.concatenate([images, *rows]), columns=len(first))
