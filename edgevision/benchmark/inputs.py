"""Prepared inputs of a benchmark: frames in the graph's format, or noise; and their file for other processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgevision.contract.inputs import Batch, TensorInput, Tensors, arrays_of, sample_tensors

SEED = 0
NOISE = f"noise of seed {SEED}"
"""The source of these inputs in records."""
PREPARED_BATCHES = 16
"""Different inputs for timing inference alone: the cost of NMS depends on the content."""


def noise_batches(given: TensorInput) -> tuple[Tensors, ...]:
    """Batches of noise of seed 0, with every label in turn."""
    size = given.batch.opt
    tensors = sample_tensors(given, SEED, PREPARED_BATCHES * size)
    return tuple(tensors[np.arange(n * size, (n + 1) * size)] for n in range(PREPARED_BATCHES))


def write_batches(path: Path, batches: Sequence[Batch]) -> None:
    """Write batches of one size as ``.npz``: one array ``[N,B,...]`` for each of the graph's inputs."""
    arrays = zip(*map(arrays_of, batches), strict=True)
    np.savez(path, *(np.stack(parts) for parts in arrays))


def read_batches(path: Path) -> tuple[Batch, ...]:
    """The batches of `write_batches`: a single uint8 array is one of frames."""
    with np.load(path) as file:
        arrays = [file[f"arr_{place}"] for place in range(len(file.files))]
    if len(arrays) == 1 and arrays[0].dtype == np.uint8:
        return tuple(arrays[0])
    return tuple(Tensors(tuple(rows)) for rows in zip(*arrays, strict=True))
