"""Generated images as further training data of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgevision.checkpoint.reading import read_run
from edgevision.errors import UsageError
from edgevision.models.generators.judge import Judge, read_judge
from edgevision.train.data.pictures import Picture
from edgevision.train.generation.reading import read_generator
from edgevision.train.generation.sampling import made
from edgevision.train.job import Job

Labels = npt.NDArray[np.int64]
_ROUNDS = 50
"""Attempts at an image whose class the judge recognises."""


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedImages:
    """Images uint8 ``[H,W,3]`` BGR of every class in turn, and their int64 labels ``[N]``."""

    pictures: tuple[Picture, ...]
    labels: Labels
    fact: str
    """Their origin, for the user."""


def generated_images(job: Job, classes: Sequence[str]) -> GeneratedImages | None:
    """Images of the job's generator; None if it has none.

    They depend on the weights and the job's seed. With a judge, only images are kept that it assigns to the class that
    they were made for. Raises `UsageError` unless the generator has these classes, and
    `CheckpointError` if its weights cannot be read.
    """
    if job.generated is None and job.generated_count is None:
        return None
    if job.generated is None or job.generated_count is None:
        raise UsageError("generated images need both --generated RUN and --generated-count N")
    path = Path(job.generated)
    generator, noise = read_generator(path)
    names = read_run(path).class_names
    if tuple(names) != tuple(classes):
        raise UsageError(
            f"--generated {path} makes images of {', '.join(names) or 'unnamed classes'}; the data has"
            f" {', '.join(classes)}: train the generator on the same data"
        )
    labels = np.arange(job.generated_count, dtype=np.int64) % len(classes)
    judge = None if job.judge is None else read_judge(Path(job.judge))
    images, labels = selected(
        lambda wanted, seed: made(generator, wanted, noise, seed), labels, judge, job.seed
    )
    values = images[:, ::-1].transpose(0, 2, 3, 1)
    frames = np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:3], 3)))
    selection = "" if job.judge is None else f", whose classes {Path(job.judge).name} recognises"
    fact = f"{len(labels)} generated images of {path.name}{selection}; half of the samples are of them"
    return GeneratedImages(tuple(frames), labels, fact)


def selected(
    make: Callable[[Labels, int], npt.NDArray[np.uint8]], labels: Labels, judge: Judge | None, seed: int
) -> tuple[npt.NDArray[np.uint8], Labels]:
    """Images ``[N,C,H,W]`` that `make` makes from labels and a seed, and the labels that the judge assigns to them too.

    Images of another class are made again with the next seed, and left out after `_ROUNDS` attempts. Raises
    `UsageError` if these are more than half.
    """
    images = make(labels, seed)
    if judge is None:
        return images, labels
    for turn in range(1, _ROUNDS + 1):
        _, seen = judge.judged(images)
        wrong = np.flatnonzero(seen != labels)
        if not len(wrong):
            return images, labels
        images[wrong] = make(labels[wrong], seed + turn)
    right = np.flatnonzero(judge.judged(images)[1] == labels)
    if 2 * len(right) < len(labels):
        raise UsageError(
            f"--judge recognises {len(right)} of {len(labels)} generated images after {_ROUNDS} attempts; train it and"
            " the generator on the same data, or omit it"
        )
    return images[right], labels[right]
