"""Training of inpainting: a diffusion model learns random holes of its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edgevision.checkpoint.reading import read_run
from edgevision.models.generators.diffusion import Denoiser, noisy
from edgevision.models.generators.inpainting import known_maps
from edgevision.models.plan import InpaintPlan
from edgevision.train.data.holes import random_hole
from edgevision.train.data.image_arrays import ImageArrays, ImageBatch, ImageDrawer
from edgevision.train.generation.diffusion import DiffusionInTraining, spread_times
from edgevision.train.starting import taken_from


@dataclass(frozen=True, slots=True, eq=False)
class HoledBatch(ImageBatch):
    """Images with `holes` float32 ``[B,1,S,S]``: 1 where the image is unknown, else 0."""

    holes: torch.Tensor

    def to(self, device: torch.device) -> HoledBatch:
        """The batch on a device."""
        parts = (self.images, self.labels, self.holes)
        return HoledBatch(*(part.to(device, non_blocking=True) for part in parts))


class HoleDrawer:
    """Draws batches of images with one random hole each."""

    def __init__(self, data: ImageArrays, plan: InpaintPlan) -> None:
        self.images, self.plan = ImageDrawer(data, plan.augment), plan

    def __call__(self, indices: list[int], generators: list[np.random.Generator], share: float) -> HoledBatch:
        """One sample for each index, from its own generator."""
        drawn = self.images(indices, generators, share)
        holes = [random_hole(self.plan.size, self.plan.holes, rng) for rng in generators]
        return HoledBatch(drawn.images, drawn.labels, hole_tensor(np.stack(holes)))


def hole_tensor(holes: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Holes uint8 ``[B,S,S]`` as float32 ``[B,1,S,S]``."""
    return torch.from_numpy(holes[:, None]).float()


class InpaintingInTraining(DiffusionInTraining):
    """A denoiser with the mean squared error of its prediction inside of the holes as the loss."""

    def losses(self, batch: ImageBatch) -> dict[str, torch.Tensor]:
        """The loss."""
        assert isinstance(batch, HoledBatch)
        count, device, hole = len(batch.labels), batch.labels.device, batch.holes
        time = spread_times(count, device)
        x, target = noisy(batch.images, torch.randn_like(batch.images), time, self.model.objective)
        hidden = torch.rand(count, device=device) < self.plan.unlabelled
        hidden = hidden.view(-1, *(1 for _ in batch.labels.shape[1:]))
        label = torch.where(hidden, self.model.classes, batch.labels)
        predicted = self.model(x * hole, time, label, known_maps(batch.images, hole)).float()
        return {"loss": ((predicted - target).square() * hole).sum() / (hole.sum() * x.shape[1])}


def start_from(denoiser: Denoiser, path: Path) -> str:
    """Copy the weights of a run or checkpoint that fit, and describe them.

    The first layer of a diffusion model without holes gets zeros for the maps of the known pixels. A colour model that
    starts from a grey one takes its channels as three equal ones. Raises `UsageError` if no tensor fits.
    """
    tensors = dict(read_run(path).tensors)
    stem, last = tensors.get("stem.weight"), tensors.get("last.weight")
    if stem is not None and last is not None and stem.shape[1] == last.shape[0]:
        if (stem.shape[1], denoiser.channels) == (1, 3):
            stem = stem.expand(-1, 3, -1, -1) / 3
            tensors |= {name: tensors[name].repeat_interleave(3, 0) for name in ("last.weight", "last.bias")}
        tensors["stem.weight"] = torch.cat((stem, stem.new_zeros(len(stem), denoiser.given, 3, 3)), 1)
    return taken_from(tensors, denoiser, str(path), f"a {type(denoiser).__name__}")
