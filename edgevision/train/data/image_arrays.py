"""Small images with one class each as one array, for generators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from edgevision.errors import UsageError
from edgevision.train.data.class_images import ClassDataset, read_classes
from edgevision.train.job import Job


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
    """Draws batches of unchanged images: what is augmented would be generated too."""

    def __init__(self, data: ImageArrays) -> None:
        self.data = data

    def __call__(self, indices: list[int], generators: list[np.random.Generator], share: float) -> ImageBatch:  # noqa: ARG002  # nothing is random
        """The images of these indices."""
        images = torch.from_numpy(self.data.images[indices]).float() / 127.5 - 1
        return ImageBatch(images, torch.from_numpy(self.data.labels[indices]))


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
