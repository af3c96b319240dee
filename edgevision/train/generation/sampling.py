"""Validation of generators: samples of the averaged weights against real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgevision.errors import UsageError
from edgevision.evaluation.generation import GenerationAccuracy, feature_distance, generation_accuracy
from edgevision.models.generators.judge import Judge, levels, read_judge
from edgevision.train.data.image_arrays import ImageSplit
from edgevision.train.data.pictures import Picture, tiled

Noise = tuple[int, ...]
"""Shape of one image's noise, such as ``(1, 28, 28)``."""

_BATCH = 100
_COLUMNS = 10
MONITOR = "likeness"
PANELS = (
    ("likeness of samples to real images, %", (MONITOR,)),
    ("samples of the class asked for, %", ("agreement",)),
    ("learning rate, share of the peak", ("lr",)),
)


def made(
    generator: nn.Module,
    labels: npt.NDArray[np.integer],
    noise: Noise,
    seed: int,
    device: torch.device | None = None,
    further: Sequence[npt.NDArray[np.uint8]] = (),
) -> npt.NDArray[np.uint8]:
    """Images uint8 ``[N,C,H,W]`` of classes ``[N]`` or tokens ``[N,L]``; they depend only on the seed.

    `further` inputs, such as images to edit, are between the noise and the labels.
    """
    rng = torch.Generator().manual_seed(seed)
    found = []
    with torch.inference_mode():
        for start in range(0, len(labels), _BATCH):
            parts = [torch.from_numpy(rows[start : start + _BATCH]) for rows in (*further, labels)]
            values = torch.randn((len(parts[0]), *noise), generator=rng)
            found.append(levels(generator(*(part.to(device) for part in (values, *parts))).float()))
    return np.concatenate(found)


class SampleMeasure:
    """Measures a generator against the validation images, in percent.

    The first half of the images, at most `samples`, is compared with the rest once; `rows` are their places. `likeness`
    is that distance as a share of the samples' own: 100 % is that of other real images.
    """

    def __init__(self, split: ImageSplit, judge: Path | None, samples: int, seed: int) -> None:
        self.judge = self._fitting(read_judge(judge), split)
        order = np.random.default_rng(seed).permutation(len(split.held))
        count = min(samples, len(order) // 2)
        self.rows = order[:count]
        features, _ = self.judge.judged(split.held.images[order])
        self.others, self.real = features[:count], features[count:]
        self.floor = feature_distance(self.others, self.real)
        self.labels = split.held.labels[self.rows]
        self.class_count, self.seed = len(split.classes), seed

    @staticmethod
    def _fitting(judge: Judge, split: ImageSplit) -> Judge:
        if judge.class_count != len(split.classes):
            raise UsageError(
                f"the classifier that measures samples has {judge.class_count} classes, the data {len(split.classes)};"
                " train one on the data with `edgevision train cnn` and pass its run as --judge"
            )
        return judge

    def accuracy_of(self, images: npt.NDArray[np.uint8]) -> GenerationAccuracy:
        """All metrics of one image ``[N,C,H,W]`` for each of the labels."""
        features, predicted = self.judge.judged(images)
        return generation_accuracy(
            features,
            predicted,
            self.labels,
            real=self.real,
            others=self.others,
            class_count=self.class_count,
        )

    def row(self, generator: nn.Module, noise: Noise, device: torch.device) -> dict[str, float]:
        """The metrics of as many samples as there are labels, in percent."""
        return self.row_of(made(generator, self.labels, noise, self.seed, device))

    def row_of(self, images: npt.NDArray[np.uint8]) -> dict[str, float]:
        """The metrics of one image for each of the labels, in percent."""
        found = self.accuracy_of(images)
        return {
            MONITOR: 100 / found.ratio,
            "agreement": 100 * found.agreement,
            "precision": 100 * found.precision,
            "recall": 100 * found.recall,
        }


def sheet_of(
    generator: Callable[[], nn.Module], classes: int, noise: Noise, device: Callable[[], torch.device]
) -> Callable[[], Picture]:
    """Draws ten samples of each class, one class a row, as one BGR image."""

    def draw() -> Picture:
        labels = np.repeat(np.arange(classes), _COLUMNS)
        return sheet(made(generator(), labels, noise, 0, device()))

    return draw


def sheet(images: npt.NDArray[np.uint8], columns: int = _COLUMNS, gap: int = 2) -> Picture:
    """Images ``[N,C,H,W]`` in rows as one BGR image, with grey gaps."""
    frames: list[Picture | None] = [bgr_of(image) for image in images]
    frames += [None] * (-len(frames) % columns)
    return tiled([frames[start : start + columns] for start in range(0, len(frames), columns)], gap)


def bgr_of(image: npt.NDArray[np.uint8]) -> Picture:
    """An image ``[C,H,W]``, RGB or grey, as ``[H,W,3]`` BGR."""
    values = np.repeat(image, 3, 0) if len(image) == 1 else image[::-1]
    return values.transpose(1, 2, 0)
