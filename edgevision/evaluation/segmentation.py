"""Mean intersection over union against label masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.contract.results import Segmentation
from edgevision.contract.session import Session
from edgevision.errors import SourceError, UsageError
from edgevision.evaluation.running import run_all
from edgevision.sources.image_files import IMAGE_SUFFIXES

LabelMask = npt.NDArray[np.uint8]
"""uint8 ``[H,W]``: a label for each pixel, or `VOID`."""
VOID = 255
"""Value of pixels that are excluded from measurement and training."""


@dataclass(frozen=True, slots=True)
class MaskedImage:
    """An image file and its label file."""

    image: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class ClassIou:
    """One class: its share of the labelled pixels and its intersection over union, in percent."""

    name: str
    share: float
    iou: float


@dataclass(frozen=True, slots=True)
class SegmentationAccuracy:
    """In percent: mean IoU over the classes that are labelled anywhere, and the share of correct pixels."""

    images: int
    miou: float
    pixels: float
    classes: tuple[ClassIou, ...]


def find_masks(images: Path, masks: Path, *, limit: int | None = None) -> tuple[MaskedImage, ...]:
    """Pair each image of a folder with the mask of the same name in another; raises `SourceError`, `UsageError`."""
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise SourceError(f"{images} holds no image ({' '.join(sorted(IMAGE_SUFFIXES))})")
    by_stem = {path.stem: path for path in masks.iterdir() if path.suffix.lower() == ".png"}
    missing = next((path for path in files if path.stem not in by_stem), None)
    if missing is not None:
        raise UsageError(f"{missing} has no mask: expected {masks / missing.stem}.png")
    return tuple(MaskedImage(path, by_stem[path.stem]) for path in files[:limit])


def read_mask(path: Path, class_count: int) -> LabelMask:
    """Read labels; values outside the classes become `VOID`.

    Raises `SourceError`, or `UsageError` for a colour image.
    """
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise SourceError(f"{path} cannot be read as an image")
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise UsageError(
            f"{path} is {mask.dtype} {list(mask.shape)}; a mask has one channel of 8 bits, whose values are labels"
        )
    return np.where(mask < class_count, mask, VOID).astype(np.uint8)


def segment_all(
    session: Session, images: Sequence[MaskedImage]
) -> Iterator[tuple[MaskedImage, Segmentation]]:
    """Run every image; yields it with its mask."""
    return run_all(session, images, lambda image: image.image, Segmentation, "segment")


def accuracy_from_masks(
    classes: Sequence[str], answers: Iterable[tuple[MaskedImage, Segmentation]]
) -> SegmentationAccuracy:
    """Compare every mask with its labels; raises `UsageError` if labels and image differ in size."""
    confusion, images = np.zeros((len(classes), len(classes)), np.int64), 0
    for image, found in answers:
        truth = read_mask(image.mask, len(classes))
        if truth.shape != found.mask.shape:
            raise UsageError(f"{image.mask} is {truth.shape[::-1]}, its image {found.mask.shape[::-1]}")
        confusion += confusion_matrix(truth, found.mask, len(classes))
        images += 1
    return accuracy_from_confusion(classes, confusion, images)


def confusion_matrix(truth: LabelMask, found: LabelMask, class_count: int) -> npt.NDArray[np.int64]:
    """Pixels ``[C,C]`` by label and by result; void is excluded."""
    labelled = truth != VOID
    pairs = truth[labelled].astype(np.int64) * class_count + found[labelled]
    return np.bincount(pairs, minlength=class_count**2).reshape(class_count, class_count)


def accuracy_from_confusion(
    classes: Sequence[str], confusion: npt.NDArray[np.int64], images: int
) -> SegmentationAccuracy:
    """Intersection over union of each class; a class without a label has none."""
    whole = max(int(confusion.sum()), 1)
    rows = []
    for label, name in enumerate(classes):
        labelled, both = int(confusion[label].sum()), int(confusion[label, label])
        either = labelled + int(confusion[:, label].sum()) - both
        iou = 100 * both / either if labelled else float("nan")
        rows.append(ClassIou(name, 100 * labelled / whole, iou))
    known = [row.iou for row in rows if row.share]
    right = 100 * float(np.trace(confusion)) / whole
    return SegmentationAccuracy(images, float(np.mean(known)) if known else float("nan"), right, tuple(rows))
