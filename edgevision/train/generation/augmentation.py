"""Generated images as further training data of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgevision.checkpoint.reading import read_checkpoint
from edgevision.errors import UsageError
from edgevision.train.data.pictures import Picture
from edgevision.train.generation.reading import read_generator
from edgevision.train.generation.sampling import made
from edgevision.train.job import Job


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedImages:
    """Images uint8 ``[H,W,3]`` BGR of every class in turn, and their int64 labels ``[N]``."""

    pictures: tuple[Picture, ...]
    labels: npt.NDArray[np.int64]
    fact: str
    """Their origin, for the user."""


def generated_images(job: Job, classes: Sequence[str]) -> GeneratedImages | None:
    """Images of the job's generator; None if it has none.

    They depend on the weights and the job's seed. Raises `UsageError` unless the generator has these classes, and
    `CheckpointError` if its weights cannot be read.
    """
    if job.generated is None and job.generated_count is None:
        return None
    if job.generated is None or job.generated_count is None:
        raise UsageError("generated images need both --generated RUN and --generated-count N")
    path = Path(job.generated)
    generator, noise = read_generator(path)
    names = read_checkpoint(path / "best.safetensors" if path.is_dir() else path).class_names
    if tuple(names) != tuple(classes):
        raise UsageError(
            f"--generated {path} makes images of {', '.join(names) or 'unnamed classes'}; the data has"
            f" {', '.join(classes)}: train the generator on the same data"
        )
    labels = np.arange(job.generated_count, dtype=np.int64) % len(classes)
    images = made(generator, labels, noise, job.seed)
    values = images[:, ::-1].transpose(0, 2, 3, 1)
    frames = np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:3], 3)))
    fact = f"{len(labels)} generated images of {path.name}; half of the samples are of them"
    return GeneratedImages(tuple(frames), labels, fact)
