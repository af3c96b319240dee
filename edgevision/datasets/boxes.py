"""Labelled boxes: the common result of all data set readers, for training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgevision.errors import SourceError, UsageError

Outline = tuple[npt.NDArray[np.float32], ...]
"""The polygons of one object, each float32 ``[n,2]`` of x and y as fractions of the image's sides."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxRow:
    """One labelled box: `xyxy` as fractions of the image's sides; `outline` is empty unless requested."""

    label: int
    xyxy: tuple[float, float, float, float]
    outline: Outline = ()


BY_THE_SEED = "the data has no validation part: using a tenth of it, selected by the seed"
"""Description of `held_tenth`."""


def held_tenth(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices for training, and a tenth for validation, by the seed; raises `UsageError` for fewer than two."""
    if count < 2:
        raise UsageError("one image cannot be split into training and validation data; pass --val")
    order = [int(i) for i in np.random.default_rng(seed).permutation(count)]
    held = max(1, count // 10)
    return sorted(order[held:]), sorted(order[:held])


@dataclass(frozen=True, slots=True, eq=False)
class BoxLabels:
    """The boxes of one image: `xyxy` float32 ``[N,4]`` as fractions of its width and height, `labels` int64 ``[N]``.

    `outlines` has one entry for each box if outlines were requested, and is empty otherwise.
    """

    xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    outlines: tuple[Outline, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def from_rows(cls, rows: Sequence[BoxRow], *, outlines: bool) -> BoxLabels:
        """Rows clipped to the image; those without an area are skipped."""
        xyxy = np.array([row.xyxy for row in rows], np.float32).reshape(-1, 4).clip(0, 1)
        labels = np.array([row.label for row in rows], np.int64)
        solid = np.flatnonzero((xyxy[:, 2:] > xyxy[:, :2]).all(axis=1))
        kept = tuple(rows[int(index)].outline for index in solid) if outlines else ()
        return cls(xyxy[solid], labels[solid], kept)


@dataclass(frozen=True, slots=True, eq=False)
class BoxDataset:
    """Image files with their boxes; images without a box are kept as background examples."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    boxes: tuple[BoxLabels, ...]
    warnings: tuple[str, ...] = ()
    """Skipped, clipped or renumbered items, one line each."""

    def __len__(self) -> int:
        return len(self.files)

    def counts(self) -> dict[str, int]:
        """Number of boxes of each class."""
        every = np.concatenate([b.labels for b in self.boxes]) if self.boxes else np.zeros(0, np.int64)
        return {name: int((every == label).sum()) for label, name in enumerate(self.classes)}

    def subset(self, indices: Sequence[int]) -> BoxDataset:
        """A subset of the images, with all classes."""
        files = tuple(self.files[i] for i in indices)
        return BoxDataset(self.classes, files, tuple(self.boxes[i] for i in indices), self.warnings)

    def split(self, seed: int) -> tuple[BoxDataset, BoxDataset]:
        """Split off a tenth of the images, selected by the seed; raises `UsageError` for fewer than two images."""
        train, held = held_tenth(len(self), seed)
        return self.subset(train), self.subset(held)


@dataclass(frozen=True, slots=True)
class ClassNames:
    """The mapping from names in the data to the model's classes, in the model's order."""

    names: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    """(name in the data, class of the model)."""

    @classmethod
    def parse(cls, text: str) -> ClassNames:
        """Parse ``person,car,motorcycle=motorbike``: the model's name, then optionally the name in the data."""
        names, aliases = [], []
        for part in text.split(","):
            name, *others = [piece.strip() for piece in part.split("=")]
            if not name or not all(others):
                raise UsageError(f"--classes {text!r}: {part!r} is neither NAME nor NAME=NAME_IN_THE_DATA")
            names.append(name)
            aliases += [(other, name) for other in others]
        if len(set(names)) != len(names):
            raise UsageError(f"--classes {text!r} names a class twice")
        return cls(tuple(names), tuple(aliases))

    def label_of(self) -> dict[str, int]:
        """The label of each name that the data may contain."""
        labels = {name: label for label, name in enumerate(self.names)}
        return labels | {other: labels[name] for other, name in self.aliases}


def require_files(files: Sequence[Path], named_by: Path) -> None:
    """Raise `SourceError` for the first file that does not exist."""
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise SourceError(
            f"{missing} is named by {named_by} and does not exist; check the image folder (--images)"
        )


def read_text(path: Path) -> str:
    """UTF-8 text, with or without a byte order mark; raises `UsageError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}") from error
