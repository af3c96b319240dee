"""Top-1 and top-5 accuracy on folders of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevision.contract.results import Classification
from edgevision.contract.session import Session
from edgevision.errors import SourceError, UsageError
from edgevision.evaluation.running import run_all
from edgevision.sources.image_files import IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True)
class ClassRecall:
    """One class: the share of its images whose best score is for this class, in percent."""

    name: str
    images: int
    recall: float


@dataclass(frozen=True, slots=True)
class ClassificationAccuracy:
    """Shares of images in percent."""

    images: int
    top1: float
    top5: float
    classes: tuple[ClassRecall, ...]


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file and the model's label of its class."""

    path: Path
    label: int


def read_class_folders(
    folder: Path, classes: Sequence[str], *, limit: int | None = None
) -> tuple[LabelledImage, ...]:
    """Images in ``folder/CLASS/``; folder names are class names or label numbers.

    Raises `UsageError` for a folder that names no class of the model, `SourceError` if there are no images.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    label_of.update({str(label): label for label in range(len(classes)) if str(label) not in label_of})
    found: list[LabelledImage] = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        if place.name not in label_of:
            raise UsageError(
                f"{place} names no class of the model; its classes: {', '.join(classes[:10])} ..."
            )
        files = sorted(path for path in place.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        found += [LabelledImage(path, label_of[place.name]) for path in files]
    if not found:
        raise SourceError(f"{folder} holds no images in folders named for classes (CLASS/*.jpg)")
    if limit is not None and limit < len(found):
        # Evenly through the classes: the first images may all be of one class.
        found = [found[i * len(found) // limit] for i in range(limit)]
    return tuple(found)


def classify_all(
    session: Session, images: Sequence[LabelledImage]
) -> Iterator[tuple[LabelledImage, Classification]]:
    """Run every image; yields it with its scores."""
    return run_all(session, images, lambda image: image.path, Classification, "classify")


def accuracy_from_scores(
    classes: Sequence[str], answers: Sequence[tuple[LabelledImage, Classification]]
) -> ClassificationAccuracy:
    """Top-1, top-5 and each class's recall."""
    top = [(image.label, [label for label, _ in scores.top(5)]) for image, scores in answers]
    hits = [label == best[0] for label, best in top]
    recalls = []
    for label, name in enumerate(classes):
        of_class = [hit for (truth, _), hit in zip(top, hits, strict=True) if truth == label]
        recall = 100 * sum(of_class) / len(of_class) if of_class else float("nan")
        recalls.append(ClassRecall(name, len(of_class), recall))
    top5 = sum(label in best for label, best in top)
    return ClassificationAccuracy(len(top), 100 * sum(hits) / len(top), 100 * top5 / len(top), tuple(recalls))
