"""Small images with one class each as one array, for generators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from edgevision.errors import UsageError
from edgevision.models.plan import ClassifierPlan
from edgevision.train.data.class_augmentation import draw_picture
from edgevision.train.data.class_images import ClassDataset, read_classes
from edgevision.train.job import Job

_CROPPED, _TURN = 0.2, 12.0
"""Largest share of an image outside of a sample, and largest angle in degrees, at full augmentation."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageArrays:
    """`images` uint8 ``[N,C,S,S]``, RGB or grey, and `labels` int64 ``[N]``."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.images.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class ImageBatch:
    """`images` float32 ``[B,C,S,S]`` in -1..1, `labels` int64 ``[B]``."""

    images: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> ImageBatch:
        """The batch on a device."""
        return ImageBatch(
            self.images.to(device, non_blocking=True), self.labels.to(device, non_blocking=True)
        )


class ImageDrawer:
    """Draws batches of images, by default unchanged: what is augmented is generated too.

    `augment` is the strength of a random crop, rotation and shear, 0 to 1.
    """

    def __init__(self, data: ImageArrays, augment: float = 0.0) -> None:
        self.data, self.augment = data, augment
        self.changes = ClassifierPlan(
            model="cnn",
            size=data.images.shape[-1],
            smallest_crop=1 - _CROPPED * augment,
            flip=0.0,
            colour=0.0,
            erase=0.0,
            turn=_TURN * augment,
        )

    def __call__(self, indices: list[int], generators: list[np.random.Generator], share: float) -> ImageBatch:  # noqa: ARG002  # all of the training is alike
        """One sample for each index, from its own generator."""
        images = self.data.images[indices]
        if self.augment:
            images = np.stack([self._changed(*pair) for pair in zip(images, generators, strict=True)])
        return ImageBatch(
            torch.from_numpy(images).float() / 127.5 - 1, torch.from_numpy(self.data.labels[indices])
        )

    def _changed(self, image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        drawn = draw_picture(np.ascontiguousarray(image.transpose(1, 2, 0)), self.changes, rng)
        return np.asarray(np.atleast_3d(drawn).transpose(2, 0, 1))


@dataclass(frozen=True, slots=True, eq=False)
class ImageSplit:
    """Training data, and the images that samples are compared with."""

    train: ImageArrays
    held: ImageArrays
    classes: tuple[str, ...]
    facts: tuple[str, ...]


def read_images(job: Job, size: int) -> ImageSplit:
    """Read the job's data as squares of `size` pixels; raises `UsageError` and `SourceError`."""
    held = Path(job.held) if job.held else None
    split = read_classes(Path(job.data), held, longest_side=1 << 20, seed=job.seed, strict=job.strict)
    colour = any(_is_coloured(split.train.pictures[place]) for place in range(len(split.train)))
    train, measured = (_squares(part, size, colour=colour) for part in (split.train, split.held))
    if len(measured) < 8:
        raise UsageError(f"{len(measured)} validation images are too few to compare samples with; expected 8")
    kind = "colour" if colour else "grey"
    fact = f"{len(train)} {kind} images of {len(split.train.classes)} classes, {len(measured)} held; {split.source}"
    return ImageSplit(
        train,
        measured,
        split.train.classes,
        (fact, *dict.fromkeys((*split.train.warnings, *split.held.warnings))),
    )


def _is_coloured(image: npt.NDArray[np.uint8]) -> bool:
    return bool((image != image[..., :1]).any())


def _squares(data: ClassDataset, size: int, *, colour: bool) -> ImageArrays:
    images = np.empty((len(data), 3 if colour else 1, size, size), np.uint8)
    for place, picture in enumerate(data.pictures):
        scaled = picture
        if picture.shape[:2] != (size, size):
            scaled = np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
        images[place] = scaled[..., ::-1].transpose(2, 0, 1) if colour else scaled[None, ..., 0]
    return ImageArrays(images, data.labels)
