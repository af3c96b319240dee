"""Images with a mask of labels each: wrong masks are errors that name the file and the value."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevision.accuracy.segmentation import VOID, LabelMask, find_masks, read_mask
from edgevision.errors import UsageError
from edgevision.train.boxes import held_tenth
from edgevision.train.pictures import Picture, load_picture


@dataclass(frozen=True, slots=True, eq=False)
class MaskDataset:
    """Pictures uint8 ``[H,W,3]`` BGR and masks uint8 ``[H,W]`` of the same size: labels, or `VOID`."""

    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    masks: tuple[LabelMask, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def shares(self) -> dict[str, float]:
        """Each class's share of the labelled pixels."""
        counts = np.sum([np.bincount(mask.ravel(), minlength=VOID + 1)[:VOID] for mask in self.masks], 0)
        whole = max(int(counts.sum()), 1)
        return {name: float(counts[label] / whole) for label, name in enumerate(self.classes)}

    def subset(self, indices: Sequence[int]) -> MaskDataset:
        """Some of the images; all classes stay."""
        pictures, masks = (tuple(part[i] for i in indices) for part in (self.pictures, self.masks))
        return MaskDataset(self.classes, pictures, masks)

    def split(self, seed: int) -> tuple[MaskDataset, MaskDataset]:
        """Hold a tenth back, chosen by the seed; raises `UsageError` for fewer than two images."""
        train, held = held_tenth(len(self), seed)
        return self.subset(train), self.subset(held)


def read_masks(folder: Path, classes: Sequence[str]) -> MaskDataset:
    """Read ``images/`` and ``masks/`` below `folder`; a mask is a picture of one channel, named as its image.

    Its values are labels, indices into `classes`; greater values are void. Raises `UsageError` for what is not such
    data, `SourceError` for a file that cannot be read.
    """
    for needed in ("images", "masks"):
        if not (folder / needed).is_dir():
            raise UsageError(f"{folder} is not a folder of images and masks: it has no folder {needed}/")
    pairs = find_masks(folder / "images", folder / "masks")
    with ThreadPoolExecutor() as pool:
        pictures = tuple(pool.map(lambda pair: load_picture(pair.image, _ANY_SIZE), pairs))
        masks = tuple(pool.map(lambda pair: read_mask(pair.mask, len(classes)), pairs))
    for pair, picture, mask in zip(pairs, pictures, masks, strict=True):
        if picture.shape[:2] != mask.shape:
            raise UsageError(
                f"{pair.mask} is {mask.shape[1]}x{mask.shape[0]}, its image {picture.shape[1]}x{picture.shape[0]}"
            )
    found = MaskDataset(tuple(classes), pictures, masks)
    unlabelled = [name for name, share in found.shares().items() if not share]
    if unlabelled:
        raise UsageError(
            f"{folder}: no pixel is labelled {unlabelled[0]!r} (value {classes.index(unlabelled[0])});"
            " --classes names the values of the masks in their order"
        )
    return found


_ANY_SIZE = 1 << 16
