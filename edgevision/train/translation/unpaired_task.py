"""The task of training CycleGAN: data, validation and samples."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgevision.errors import UsageError
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.images import images_bgr
from edgevision.models.plan import CycleGanPlan
from edgevision.models.translators.cyclegan import TranslatorPair
from edgevision.train.data.pictures import Picture, tiled
from edgevision.train.data.unpaired import UnpairedImages, centre, read_unpaired_split
from edgevision.train.job import Job, TrainingTask, progress_of, settings_json
from edgevision.train.starting import started
from edgevision.train.tasks.detector import TensorOf
from edgevision.train.translation.unpaired import CycleGanInTraining, UnpairedDrawer

_BATCH = 16
_ROWS = 6
"""Images of each kind on the sheet of samples."""


def cyclegan_task(job: Job, plan: CycleGanPlan, tensor_of: TensorOf, pixels: PixelFormat) -> TrainingTask:
    """Read all data of the job; raises `UsageError` and `SourceError`."""
    if job.classes is not None or job.monitor is not None or job.balance:
        raise UsageError("unpaired translation has no classes: omit --classes, --monitor and --balance")
    train, held, source = read_unpaired_split(
        Path(job.data), Path(job.held) if job.held else None, plan.size, seed=job.seed, strict=job.strict
    )
    pair = TranslatorPair(plan.width, plan.depth)
    beginning = started(pair, job.weights)
    module = CycleGanInTraining(pair, plan, progress_of(job, len(train)), job.seed, tensor_of)
    parameters = sum(parameter.numel() for parameter in module.model.forth.parameters())
    measure = CycleMeasure(held, plan.size, tensor_of, pixels)

    def network() -> TranslatorPair:
        assert isinstance(module.average.model, TranslatorPair)
        return module.average.model

    return TrainingTask(
        module=module,
        count=len(train),
        draw=UnpairedDrawer(train, plan.size),
        order=None,
        measure=lambda: measure.row(network(), module.device),
        monitor=None,
        panels=(
            ("losses of generators and critics", ("fooled", "critic")),
            ("differences after a cycle, and of unchanged images", ("cycle", "identity")),
            ("cycle error on the validation data, levels of 255", ("cycle error",)),
        ),
        metadata={
            "names": json.dumps(train.names),
            "recipe": job.recipe,
            "size": json.dumps([plan.size, plan.size]),
            "torch": torch.__version__,
            "job": settings_json(job),
        },
        facts=(
            f"{len(train.first)} images of {train.names[0]}, {len(train.second)} of {train.names[1]};"
            f" held: {len(held.first)} and {len(held.second)}; {parameters:,} parameters for each direction",
            source,
            *beginning,
            *dict.fromkeys((*train.warnings, *held.warnings)),
        ),
        samples=lambda: measure.sheet(network(), module.device),
    )


class CycleMeasure:
    """Measures how well images return from the other kind."""

    def __init__(self, held: UnpairedImages, size: int, tensor_of: TensorOf, pixels: PixelFormat) -> None:
        self.names, self.tensor_of, self.pixels = held.names, tensor_of, pixels
        self.first, self.second = (
            np.stack([centre(image, size) for image in images]) for images in (held.first, held.second)
        )

    def row(self, pair: TranslatorPair, device: torch.device) -> dict[str, float]:
        """Mean absolute differences after both directions in levels of 255: of both kinds, and of each."""
        errors = []
        for images, there, again in (
            (self.first, pair.forth, pair.back),
            (self.second, pair.back, pair.forth),
        ):
            returned = self.made(self.made(images, there, device), again, device)
            errors.append(float(np.abs(returned.astype(np.float64) - images).mean()))
        names = (f"cycle error {name}" for name in self.names)
        return {"cycle error": sum(errors) / 2, **dict(zip(names, errors, strict=True))}

    def made(
        self, images: npt.NDArray[np.uint8], translator: nn.Module, device: torch.device
    ) -> npt.NDArray[np.uint8]:
        """Translated images, rounded to 8 bits; uint8 ``[N,S,S,3]`` BGR."""
        found = []
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                batch = torch.from_numpy(images[start : start + _BATCH]).to(device)
                found.append(images_bgr(translator(self.tensor_of(batch)).float().cpu(), self.pixels))
        return np.concatenate(found)

    def sheet(self, pair: TranslatorPair, device: torch.device) -> Picture:
        """Columns: an image, translated, and back; of both kinds."""
        columns = []
        for images, there, again in (
            (self.first, pair.forth, pair.back),
            (self.second, pair.back, pair.forth),
        ):
            shown = images[:_ROWS]
            made = self.made(shown, there, device)
            columns += [shown, made, self.made(made, again, device)]
        return tiled(list(itertools.zip_longest(*columns)))
