"""The task of training inpainting, and its validation: real images with holes, filled and compared with themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edgevision.errors import UsageError
from edgevision.models.generators.diffusion import Denoiser
from edgevision.models.generators.inpainting import Inpainter, inpainting_denoiser
from edgevision.models.plan import InpaintPlan
from edgevision.train.data.holes import HALVES, centre_hole, half_hole, stroke_hole
from edgevision.train.data.image_arrays import ImageArrays, ImageSplit
from edgevision.train.data.pictures import Picture
from edgevision.train.generation.captioned import HoledCaptionDrawer, check_digits, ink_of, rendered_digits
from edgevision.train.generation.generator_task import GeneratorParts, generator_task, read_split
from edgevision.train.generation.inpainting import HoleDrawer, InpaintingInTraining, start_from
from edgevision.train.generation.sampling import SampleMeasure, made, sheet
from edgevision.train.job import Job, TrainingTask, progress_of

Images = npt.NDArray[np.uint8]

_GREY = 128
_COLUMNS = 10
_GENTLE = 0.5
"""Learning rates as a share of the plan's, if the training starts from given weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """Images uint8 ``[N,C,S,S]`` whose holes uint8 ``[N,S,S]`` are filled; labels ``[N]`` or tokens ``[N,LENGTH]``."""

    images: Images
    holes: Images
    labels: npt.NDArray[np.int64]

    def filled(self, model: Inpainter, seed: int, device: torch.device | None = None) -> Images:
        """The filled images, uint8 ``[N,C,S,S]``; they depend only on the seed."""
        channels = self.images.shape[1]
        frames = np.repeat(self.images, 3, 1) if channels == 1 else self.images[:, ::-1]
        frames = np.ascontiguousarray(frames.transpose(0, 2, 3, 1))
        further = (frames, self.holes * np.uint8(255))
        return made(model, self.labels, self.images.shape[1:], seed, device, further)[:, :channels]

    def unlabelled(self, model: Inpainter) -> Filling:
        """The same without class and without text."""
        return replace(self, labels=np.full_like(self.labels, model.denoiser.classes))

    def without(self) -> Images:
        """The images with grey holes."""
        return np.where(self.holes[:, None] > 0, np.uint8(_GREY), self.images)


def alternating_holes(count: int, size: int) -> Images:
    """The box in the centre and each of the four halves in turn, uint8 ``[N,S,S]``."""
    kinds = [centre_hole(size), *(half_hole(size, which) for which in range(HALVES))]
    return np.stack([kinds[place % len(kinds)] for place in range(count)])


@dataclass(frozen=True, slots=True, eq=False)
class FillTest:
    """Real images that are filled for validation, and what is known about them."""

    images: Images
    labels: npt.NDArray[np.int64]
    """What the model is given: classes ``[N]``, or tokens ``[N,LENGTH]``."""
    classes: npt.NDArray[np.int64]
    seen_by_judge: Callable[[Images], Images]
    """The images as the classifier of the validation takes them."""

    def rows(self, rows: npt.NDArray[np.int64]) -> FillTest:
        """A part of the images."""
        return replace(self, images=self.images[rows], labels=self.labels[rows], classes=self.classes[rows])


def inpaint_task(job: Job, plan: InpaintPlan) -> TrainingTask:
    """Read all data of the job; raises `UsageError` and `SourceError`."""
    if job.teacher is not None:
        raise UsageError(
            "--distill-from is for recipe diffusion; a model that fills holes cannot be distilled"
        )
    split = read_split(job, plan)
    test, split, channels = _prepared(split, plan, job.seed)
    classes = None if plan.captions else len(split.classes)
    denoiser = inpainting_denoiser(channels, classes, plan.width, plan.size)
    denoiser.keep_sampling(plan.steps, plan.guidance, plan.interval)
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
        noise=(channels, plan.size, plan.size),
        losses=("mean squared error in the holes", ("loss",)),
        draw=HoledCaptionDrawer(split.train, plan) if plan.captions else HoleDrawer(split.train, plan),
        measure=lambda measure: fill_row(Inpainter(average), test, measure, module.device),
        samples=lambda: example_sheet(Inpainter(average), test, module.device),
        facts=facts,
    )
    return generator_task(job, plan, split, parts)


def _prepared(split: ImageSplit, plan: InpaintPlan, seed: int) -> tuple[FillTest, ImageSplit, int]:
    """The validation, the data whose held part is what the judge sees, and the number of the images' channels."""
    held = split.held
    if not plan.captions:
        return FillTest(held.images, held.labels, held.labels, lambda images: images), split, held.channels
    check_digits(split)
    captioned = rendered_digits(held, seed)
    inked = replace(split, held=ImageArrays(ink_of(captioned.images), held.labels))
    return FillTest(captioned.images, captioned.tokens, held.labels, ink_of), inked, 3


def _gentle(plan: InpaintPlan) -> InpaintPlan:
    used = plan.optimization
    slower = replace(used, lr_filters=_GENTLE * used.lr_filters, lr_others=_GENTLE * used.lr_others)
    return replace(plan, optimization=slower)


def fill_row(
    model: Inpainter, test: FillTest, measure: SampleMeasure, device: torch.device
) -> dict[str, float]:
    """Metrics in percent of images with filled holes, and their agreement where neither class nor text is given."""
    part = test.rows(measure.rows)
    filling = Filling(part.images, alternating_holes(len(part.images), part.images.shape[-1]), part.labels)
    free = filling.unlabelled(model)
    _, seen = measure.judge.judged(test.seen_by_judge(free.filled(model, measure.seed, device)))
    row = measure.row_of(test.seen_by_judge(filling.filled(model, measure.seed, device)))
    return row | {"agreement, free": 100 * float((seen == part.classes).mean())}


def example_sheet(model: Inpainter, test: FillTest, device: torch.device) -> Picture:
    """Images of ten classes, then with a box, halves and strokes each: the holes, filled as asked, filled freely."""
    found = {int(label): place for place, label in reversed(list(enumerate(test.classes)))}
    part = test.rows(np.array([found[label] for label in sorted(found)][:_COLUMNS]))
    count, size = len(part.classes), part.images.shape[-1]
    rng = np.random.default_rng(0)
    rows = []
    for holes in (
        [centre_hole(size)] * count,
        [half_hole(size, place % HALVES) for place in range(count)],
        [stroke_hole(size, rng) for _ in range(count)],
    ):
        filling = Filling(part.images, np.stack(holes), part.labels)
        free = filling.unlabelled(model)
        rows += [filling.without(), filling.filled(model, 0, device), free.filled(model, 0, device)]
    return sheet(np.concatenate([part.images, *rows]), columns=count)
