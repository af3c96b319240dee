"""A classifier that measures generated images: its features, and the classes that it sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import edgevision
from edgevision.checkpoint.reading import read_run
from edgevision.errors import CheckpointError
from edgevision.models.cnn import Cnn, cnn_from_state_dict

INCLUDED = Path(edgevision.__file__).parent / "weights" / "digits.safetensors"
"""Recipe `digits`: ten classes of handwritten digits."""

_BATCH = 256
_MEAN, _STD = 0.5, 0.25
"""Pixel format of the recipes `cnn` and `digits`."""


class Judge:
    """Computes features and classes of images with a `Cnn`."""

    def __init__(self, classifier: Cnn) -> None:
        self.classifier = classifier.eval()

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return self.classifier.class_count

    @torch.inference_mode()
    def judged(self, images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Images uint8 ``[N,C,H,W]``, RGB or grey, to features float32 ``[N,D]`` and classes ``[N]``."""
        features, classes = [], []
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(images[start : start + _BATCH]).float() / 255
            pooled = self.classifier.pooled((batch.expand(-1, 3, -1, -1) - _MEAN) / _STD)
            features.append(pooled.numpy())
            classes.append(self.classifier.classifier(pooled).argmax(1).numpy())
        return np.concatenate(features), np.concatenate(classes)


def read_judge(path: Path | None) -> Judge:
    """The classifier of a run folder or a checkpoint; None: the included one. Raises `CheckpointError`."""
    path = path or INCLUDED
    try:
        return Judge(cnn_from_state_dict(read_run(path).tensors))
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} does not hold a classifier that measures images: {error}; train one with `edgevision train cnn`"
        ) from error


def levels(images: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Images float ``[N,C,H,W]`` in 0..1 as rounded levels of 255."""
    return np.asarray((images * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy())
