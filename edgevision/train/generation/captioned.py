"""Digits that are rendered with attributes and captions, as training data of models that take a text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from edgevision.datasets.captions import DIGIT_WORDS, caption_of
from edgevision.datasets.rendering import SMALL, render
from edgevision.errors import UsageError
from edgevision.evaluation.attributes import measured
from edgevision.models.generators.words import tokens_of_texts
from edgevision.models.plan import InpaintPlan
from edgevision.train.data.holes import random_hole
from edgevision.train.data.image_arrays import ImageArrays, ImageSplit
from edgevision.train.generation.inpainting import HoledBatch, hole_tensor

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class CaptionedDigits:
    """`images` uint8 ``[N,3,28,28]`` RGB, `tokens` int64 ``[N,LENGTH]`` of their full captions, `digits` ``[N]``."""

    images: Images
    tokens: npt.NDArray[np.int64]
    digits: npt.NDArray[np.int64]
    captions: tuple[str, ...]


def check_digits(split: ImageSplit) -> None:
    """Raise `UsageError` unless the data are grey digits of 28 px."""
    found = (split.train.images.shape[1:], split.classes)
    if found != ((1, SMALL, SMALL), tuple(map(str, range(len(DIGIT_WORDS))))):
        raise UsageError(
            f"captions are made for grey images of {SMALL} px of the digits 0 to 9; received {found[0][0]} channels,"
            f" {found[0][-1]} px and the classes {', '.join(split.classes)}"
        )


def rendered_digits(data: ImageArrays, seed: int) -> CaptionedDigits:
    """Every digit with random attributes that depend on the seed and its place, and its full caption."""
    drawn = [
        render(image[0], int(label), np.random.default_rng((seed, place)))
        for place, (image, label) in enumerate(zip(data.images, data.labels, strict=True))
    ]
    captions = tuple(caption_of(one.attributes) for one in drawn)
    return CaptionedDigits(
        np.stack([one.small.transpose(2, 0, 1) for one in drawn]),
        tokens_of_texts(list(captions)).astype(np.int64),
        data.labels,
        captions,
    )


def ink_of(images: Images) -> Images:
    """The ink of digits uint8 ``[N,3,28,28]`` RGB as grey images ``[N,1,28,28]``."""
    return np.stack([measured(image.transpose(1, 2, 0)).ink[None] for image in images])


class HoledCaptionDrawer:
    """Draws batches of digits with random attributes, a random caption and a random hole."""

    def __init__(self, data: ImageArrays, plan: InpaintPlan) -> None:
        self.data, self.plan = data, plan

    def __call__(self, indices: list[int], generators: list[np.random.Generator], share: float) -> HoledBatch:  # noqa: ARG002  # all of the training is alike
        """One sample for each index, from its own generator; its labels are the tokens of its caption."""
        drawn = [
            render(self.data.images[index][0], int(self.data.labels[index]), rng)
            for index, rng in zip(indices, generators, strict=True)
        ]
        holes = [random_hole(self.plan.size, self.plan.holes, rng) for rng in generators]
        images = np.stack([one.small.transpose(2, 0, 1) for one in drawn])
        tokens = tokens_of_texts([one.caption for one in drawn]).astype(np.int64)
        return HoledBatch(
            torch.from_numpy(images).float() / 127.5 - 1,
            torch.from_numpy(tokens),
            hole_tensor(np.stack(holes)),
        )
