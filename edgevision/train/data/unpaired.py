"""Two folders of images without correspondence, for training of unpaired translation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgevision.datasets.boxes import BY_THE_SEED, held_tenth
from edgevision.datasets.image_check import accept, decode_all
from edgevision.errors import UsageError
from edgevision.evaluation.images import images_of
from edgevision.sources.image_files import read_image
from edgevision.train.data.pictures import Picture

MARGIN = 1.125
"""Shorter side of training images relative to that of samples."""


@dataclass(frozen=True, slots=True, eq=False)
class UnpairedImages:
    """Images uint8 ``[H,W,3]`` BGR of two kinds, at least as large as a sample."""

    names: tuple[str, str]
    """Names of the two folders."""
    first: tuple[Picture, ...]
    second: tuple[Picture, ...]
    warnings: tuple[str, ...] = ()
    """Skipped files, one line each."""

    def __len__(self) -> int:
        return max(len(self.first), len(self.second))

    def subset(self, first: Sequence[int], second: Sequence[int]) -> UnpairedImages:
        """A part of both kinds."""
        return UnpairedImages(
            self.names,
            tuple(self.first[i] for i in first),
            tuple(self.second[i] for i in second),
            self.warnings,
        )


def read_unpaired_split(
    data: Path, held: Path | None, size: int, *, seed: int, strict: bool
) -> tuple[UnpairedImages, UnpairedImages, str]:
    """Training and validation images, and a description of the split: `held`, or a tenth by the seed.

    Raises `UsageError` for folders of another structure, `SourceError` if too many images cannot be decoded.
    """
    train = _read(data, round(size * MARGIN), strict=strict)
    if held is not None:
        found = _read(held, size, strict=strict)
        if found.names != train.names:
            raise UsageError(
                f"{held} has the folders {', '.join(found.names)}; expected those of the training data,"
                f" {', '.join(train.names)}"
            )
        return train, found, f"validation on {held} (--val)"
    parts = [held_tenth(len(images), seed) for images in (train.first, train.second)]
    kept, measured = zip(*parts, strict=True)
    return train.subset(*kept), train.subset(*measured), BY_THE_SEED


def draw_sample(image: Picture, size: int, rng: np.random.Generator) -> Picture:
    """A random square of an image, uint8 ``[size,size,3]``, mirrored in half of the cases."""
    top, left = (int(rng.integers(0, side - size + 1)) for side in image.shape[:2])
    part = image[top : top + size, left : left + size]
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


def centre(image: Picture, size: int) -> Picture:
    """The largest square in the middle, scaled to ``[size,size,3]``."""
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return scaled(image[top : top + side, left : left + side], size)


def scaled(image: Picture, shorter: int) -> Picture:
    """The image with its shorter side of that length."""
    height, width = image.shape[:2]
    gain = shorter / min(height, width)
    size_wh = (max(round(width * gain), shorter), max(round(height * gain), shorter))
    method = cv2.INTER_AREA if gain < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_wh, interpolation=method), np.uint8)


def _read(folder: Path, shorter: int, *, strict: bool) -> UnpairedImages:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; expected one with two folders of images")
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    kinds = {path.name: images_of(path) for path in inner}
    if len(kinds) != 2 or not all(kinds.values()):
        found = ", ".join(f"{name} ({len(files)} images)" for name, files in kinds.items()) or "none"
        raise UsageError(
            f"{folder} holds the folders: {found}; expected two folders with images, one for each kind"
        )
    read: list[tuple[Picture, ...]] = []
    warnings: list[str] = []
    for files in kinds.values():
        images, warned = read_scaled(files, shorter, strict=strict)
        read.append(images)
        warnings.extend(warned)
    first, second = kinds
    return UnpairedImages((first, second), read[0], read[1], tuple(warnings))


def read_scaled(
    files: Sequence[Path], shorter: int, *, strict: bool
) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """All images with their shorter side of that length, and warnings; raises `SourceError`."""
    decoded, broken = decode_all(lambda place: scaled(read_image(files[place]), shorter), len(files))
    warnings = accept(broken, len(files), strict=strict)
    return tuple(image for image in decoded if image is not None), warnings
