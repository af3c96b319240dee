"""Reads images with label masks; errors name the file and value of an invalid mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevision.datasets.boxes import BY_THE_SEED, held_tenth
from edgevision.datasets.image_check import accept, decode_all
from edgevision.datasets.opening import HELD_NAMES
from edgevision.errors import UsageError
from edgevision.evaluation.segmentation import VOID, LabelMask, find_masks, read_mask
from edgevision.train.data.pictures import Picture, load_picture


@dataclass(frozen=True, slots=True, eq=False)
class MaskDataset:
    """Images uint8 ``[H,W,3]`` BGR and masks uint8 ``[H,W]`` of the same size: labels, or `VOID`."""

    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    masks: tuple[LabelMask, ...]
    warnings: tuple[str, ...] = ()
    """Skipped items, one line each."""

    def __len__(self) -> int:
        return len(self.pictures)

    def shares(self) -> dict[str, float]:
        """Each class's share of the labelled pixels."""
        counts = np.sum([np.bincount(mask.ravel(), minlength=VOID + 1)[:VOID] for mask in self.masks], 0)
        whole = max(int(counts.sum()), 1)
        return {name: float(counts[label] / whole) for label, name in enumerate(self.classes)}

    def subset(self, indices: Sequence[int]) -> MaskDataset:
        """A subset of the images, with all classes."""
        pictures, masks = (tuple(part[i] for i in indices) for part in (self.pictures, self.masks))
        return MaskDataset(self.classes, pictures, masks, self.warnings)

    def split(self, seed: int) -> tuple[MaskDataset, MaskDataset]:
        """Split off a tenth, selected by the seed; raises `UsageError` for fewer than two images."""
        train, held = held_tenth(len(self), seed)
        return self.subset(train), self.subset(held)


@dataclass(frozen=True, slots=True, eq=False)
class MaskSplit:
    """Training data and validation data, with a description of the split."""

    train: MaskDataset
    held: MaskDataset
    source: str


def read_mask_split(
    data: Path, held: Path | None, classes: Sequence[str], *, seed: int, strict: bool
) -> MaskSplit:
    """Read `data`; validation data is `held` if given, else its own ``val/``, else a tenth selected by the seed."""
    own = next((data / name for name in HELD_NAMES if (data / name / "masks").is_dir()), None)
    has_parts = own is not None and (data / "train" / "masks").is_dir()
    train = read_masks(data / "train" if has_parts else data, classes, strict=strict)
    if held is not None:
        return MaskSplit(train, read_masks(held, classes, strict=strict), f"validation on {held} (--val)")
    if has_parts and own is not None:
        measured = read_masks(own, classes, strict=strict)
        return MaskSplit(train, measured, f"the split of the folders {data / 'train'} and {own}")
    return MaskSplit(*train.split(seed), BY_THE_SEED)


def read_masks(folder: Path, classes: Sequence[str], *, strict: bool = False) -> MaskDataset:
    """Read ``images/`` and ``masks/`` below `folder`; a mask is an image of one channel with the name of its image.

    Its values are labels, indices into `classes`; greater values are void. Pairs that cannot be decoded are skipped and
    listed, as in `image_check.accept`. Raises `UsageError` for other data, `SourceError` if too many pairs cannot be
    decoded.
    """
    for needed in ("images", "masks"):
        if not (folder / needed).is_dir():
            raise UsageError(f"{folder} is not a folder of images and masks: it has no folder {needed}/")
    pairs = find_masks(folder / "images", folder / "masks")

    def read(place: int) -> tuple[Picture, LabelMask]:
        return load_picture(pairs[place].image, _ANY_SIZE), read_mask(pairs[place].mask, len(classes))

    decoded, broken = decode_all(read, len(pairs))
    warnings = accept(broken, len(pairs), strict=strict)
    kept = [(pair, both) for pair, both in zip(pairs, decoded, strict=True) if both is not None]
    for pair, (picture, mask) in kept:
        if picture.shape[:2] != mask.shape:
            raise UsageError(
                f"{pair.mask} is {mask.shape[1]}x{mask.shape[0]}, its image {picture.shape[1]}x{picture.shape[0]}"
            )
    pictures = tuple(picture for _, (picture, _) in kept)
    masks = tuple(mask for _, (_, mask) in kept)
    found = MaskDataset(tuple(classes), pictures, masks, warnings)
    unlabelled = [name for name, share in found.shares().items() if not share]
    if unlabelled:
        raise UsageError(
            f"{folder}: no pixel is labelled {unlabelled[0]!r} (value {classes.index(unlabelled[0])});"
            " --classes must list the classes in the order of the mask values"
        )
    return found


_ANY_SIZE = 1 << 16
