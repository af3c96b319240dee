"""Inputs for calibration and measurement: real frames, or noise for models that make images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgevision.contract.inputs import TensorInput, Tensors, sample_tensors
from edgevision.contract.spec import ModelSpec
from edgevision.errors import UsageError
from edgevision.quantize.calibration.calibrate import CalibrationFrames, CalibrationInputs
from edgevision.quantize.options import QuantizeOptions

CALIBRATION_SEED = 1
"""The golden noise has seed 0, the noise that measures graphs another one."""
MEASURING_SEED = 2
NOISES = 64
"""Number of images that measure a graph."""


class CalibrationNoise:
    """Noise, and every label in turn."""

    def __init__(self, inputs: TensorInput, count: int, seed: int = CALIBRATION_SEED) -> None:
        self.batch = inputs.batch.opt
        self._inputs = inputs
        self._count = count
        self._seed = seed

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Tensors]:
        """The last batch is padded with its last row."""
        size = self.batch
        tensors = sample_tensors(self._inputs, self._seed, self._count)
        for start in range(0, self._count, size):
            yield tensors[np.arange(start, start + size).clip(max=self._count - 1)]

    def origin(self, number: int) -> str:
        """Seed and number of the noise."""
        return f"noise {number} of seed {self._seed}"

    def for_timing(self, count: int) -> Tensors:
        """As many rows as the graph's usual batch."""
        del count
        return sample_tensors(self._inputs, self._seed, self.batch)


def calibration_inputs(
    spec: ModelSpec, options: QuantizeOptions, limit: int | None = None
) -> CalibrationInputs:
    """Noise for a model that makes images, else the frames of ``--calib``; at most `limit`.

    Raises `UsageError` for a missing folder, and for one that the model does not need.
    """
    count = min(options.calib_images, limit or options.calib_images)
    if spec.task == "generate":
        if options.calib is not None:
            raise UsageError(f"{spec.name} makes images from noise, which also calibrates it: omit --calib")
        return CalibrationNoise(spec.tensors, count)
    if options.calib is None:
        raise UsageError("the ranges of activations come from real images: pass --calib DIR")
    return CalibrationFrames(options.calib, spec.frames, count, strict=options.strict)
