"""Inputs of models that take tensors instead of frames, and the noise from which they make images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.errors import UsageError

Kind = Literal["noise", "image", "mask", "label", "tokens", "values"]
"""How the host fills a tensor.

With normal noise; with the image that is edited, or the mask of its region; with the number of a class; with the
numbers of a text's tokens; with the values that other graphs of a program compute.
"""
FLOAT_KINDS: tuple[Kind, ...] = ("noise", "values")
PIXELS: tuple[Kind, ...] = ("image", "mask")
MASKED = 128
"""A mask selects the pixels whose value is at least this."""
Arrays = tuple[npt.NDArray[Any], ...]
"""One array for each of the graph's inputs, in order."""
LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True, slots=True)
class BatchRange:
    """The batch sizes that a graph accepts; static if all three are equal."""

    min: int = 1
    opt: int = 1
    max: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max:
            raise ValueError(f"batch {self} must satisfy 1 <= MIN <= OPT <= MAX")

    def __str__(self) -> str:
        return str(self.max) if self.static else f"{self.min}:{self.opt}:{self.max}"

    @property
    def static(self) -> bool:
        """True if exactly one batch size is accepted."""
        return self.min == self.max

    @classmethod
    def parse(cls, text: str) -> BatchRange:
        """Read ``N`` or ``MIN:OPT:MAX``; raises `ValueError`."""
        try:
            numbers = [int(part) for part in text.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) == 1:
            return cls(*numbers * 3)
        if len(numbers) == 3:
            return cls(*numbers)
        raise ValueError(f"batch {text!r} is neither N nor MIN:OPT:MAX")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a graph: its shape, with -1 for the batch, and its numpy dtype."""

    name: str
    dtype: Literal["float32", "int32", "uint8"]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One input: noise or values float32, an image or a mask uint8, or numbers int32 from 0 to `limit` - 1."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    """Without the batch."""
    limit: int = 0
    """Number of classes or tokens; 0 for all other kinds."""

    def __post_init__(self) -> None:
        if any(side < 1 for side in self.shape):
            raise ValueError(f"{self.name} has shape {self.shape}; expected positive sides")
        if (self.kind in (*FLOAT_KINDS, *PIXELS)) != (self.limit == 0):
            raise ValueError(
                f"{self.name} of kind {self.kind} has limit {self.limit}; expected 0 for noise and values only, an"
                " image or a mask"
            )
        rank = {"image": 3, "mask": 2}.get(self.kind)
        if rank is not None and len(self.shape) != rank:
            raise ValueError(
                f"{self.name} has shape {self.shape}; expected (H, W, 3) for an image, (H, W) for a mask"
            )

    @property
    def dtype(self) -> Literal["float32", "int32", "uint8"]:
        """The numpy dtype."""
        if self.kind in PIXELS:
            return "uint8"
        return "float32" if self.kind in FLOAT_KINDS else "int32"


@dataclass(frozen=True, slots=True)
class TensorInput:
    """The inputs of a graph that takes no frames, in its order."""

    tensors: tuple[InputTensor, ...]
    batch: BatchRange = BatchRange()

    def __post_init__(self) -> None:
        names = [tensor.name for tensor in self.tensors]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"expected inputs of different names; received {', '.join(names) or 'none'}")

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Names, dtypes and shapes."""
        return tuple(TensorSpec(t.name, t.dtype, (-1, *t.shape)) for t in self.tensors)

    def of_kind(self, kind: Kind) -> InputTensor | None:
        """The first input of that kind; None without one."""
        return next((tensor for tensor in self.tensors if tensor.kind == kind), None)


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """A batch for a `TensorInput`: one array for each input, in its order, all with the same number of rows."""

    arrays: Arrays

    def __post_init__(self) -> None:
        rows = {len(array) for array in self.arrays}
        if len(rows) != 1:
            raise ValueError(f"expected arrays of one length; received lengths {sorted(rows)}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, rows: slice | npt.NDArray[np.integer[Any]]) -> Tensors:
        """The batch of some rows."""
        return Tensors(tuple(array[rows] for array in self.arrays))


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A region of an image: `image` uint8 ``[H,W,3]`` BGR, and `mask` uint8 ``[H,W]``, at least `MASKED` inside."""

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]


Batch = npt.NDArray[np.uint8] | Tensors
"""What a session takes: frames uint8 ``[B,H,W,3]``, or the tensors of a model that takes none."""


def arrays_of(batch: Batch) -> Arrays:
    """The array of each of the graph's inputs, in order."""
    return batch.arrays if isinstance(batch, Tensors) else (batch,)


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of all rows."""
    arrays = [np.concatenate(parts) for parts in zip(*map(arrays_of, batches), strict=True)]
    return Tensors(tuple(arrays)) if isinstance(batches[0], Tensors) else arrays[0]


def tensors_for(
    given: TensorInput,
    seed: int,
    numbers: Sequence[int],
    labels: Sequence[int],
    tokens: npt.NDArray[np.int32] | None = None,
    region: Region | None = None,
) -> Tensors:
    """The inputs of images by their numbers, one label for each; models without labels ignore them.

    `tokens` has one row for each image; without it, the tokens are numbers from the same generator. All images have the
    same `region`; without it, each has a drawing and a box from its generator.
    The noise of an image depends only on the seed, the image's number and the input: a Philox4x64 generator with the
    key (seed, number) makes the values of all inputs of kind noise in order, as float32 of numpy's normal distribution.
    Raises `UsageError` for a seed or number outside of 0..2**64-1.
    """
    for value in (seed, *numbers):
        if not 0 <= value <= LARGEST_SEED:
            raise UsageError(f"a seed and the number of an image are 0 to {LARGEST_SEED}; received {value}")
    generators = [
        np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64))) for number in numbers
    ]
    arrays: list[npt.NDArray[Any]] = []
    for tensor in given.tensors:
        if tensor.kind in FLOAT_KINDS:
            rows = [generator.standard_normal(tensor.shape, np.float32) for generator in generators]
            arrays.append(np.stack(rows))
        elif tensor.kind == "label":
            shaped = np.asarray(labels, np.int32).reshape(len(numbers), *(1 for _ in tensor.shape))
            arrays.append(np.array(np.broadcast_to(shaped, (len(numbers), *tensor.shape))))
        elif tensor.kind in PIXELS:
            pixels = [_pixels(tensor, generator, region) for generator in generators]
            arrays.append(np.stack(pixels))
        elif tokens is not None:
            arrays.append(tokens)
        else:
            drawn = [
                generator.integers(tensor.limit, size=tensor.shape, dtype=np.int32)
                for generator in generators
            ]
            arrays.append(np.stack(drawn))
    return Tensors(tuple(arrays))


def _pixels(
    tensor: InputTensor, generator: np.random.Generator, region: Region | None
) -> npt.NDArray[np.uint8]:
    """The region's image or mask; without one, a light line on a dark ground, or a box of half the sides."""
    if region is not None:
        return region.image if tensor.kind == "image" else region.mask
    height, width = tensor.shape[:2]
    if tensor.kind == "mask":
        mask = np.zeros((height, width), np.uint8)
        top, left = (int(generator.integers(side - side // 2 + 1)) for side in (height, width))
        mask[top : top + max(1, height // 2), left : left + max(1, width // 2)] = 255
        return mask
    ground, ink = generator.integers(0, 100, 3), generator.integers(150, 256, 3)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = ground
    points = np.stack([generator.integers(side, size=4) for side in (width, height)], 1).astype(np.int32)
    cv2.polylines(image, [points], False, ink.tolist(), max(1, width // 10), cv2.LINE_AA)
    return image


def sample_tensors(given: TensorInput, seed: int, count: int) -> Tensors:
    """Inputs of the images 0 to `count` - 1, with every label in turn."""
    label = given.of_kind("label")
    labels = [number % label.limit for number in range(count)] if label is not None else [0] * count
    return tensors_for(given, seed, range(count), labels)
