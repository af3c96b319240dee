"""Per-image accuracy, for comparing two graphs on the same images with a confidence interval."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
CONFIDENCE = 0.9
"""Two-sided: one drop in twenty is worse than the upper end."""

Counts = npt.NDArray[np.int64]
"""How often each image was drawn, ``[R,N]``, a row for each draw."""
Values = npt.NDArray[np.float64]
"""The metric of each draw, ``[R]``."""


class Scores(abc.ABC):
    """A graph's results on every image, in the form that its metric is summed from."""

    metric: str
    """The metric's name; it is in percent, PSNR in dB."""

    def __init__(self, images: int) -> None:
        self.images = images

    @abc.abstractmethod
    def values(self, counts: Counts) -> Values:
        """The metric for every draw: draw r contains image i ``counts[r,i]`` times."""

    @property
    def whole(self) -> float:
        """The metric over all images, each once."""
        return float(self.values(np.ones((1, self.images), np.int64))[0])


@dataclass(frozen=True, slots=True)
class Drop:
    """Points lost between two graphs on the same images; negative values are gains.

    `low` and `high` are the ends of a `CONFIDENCE` interval from a paired bootstrap (Efron and Tibshirani, 1993):
    images are drawn with replacement, and both graphs are scored on each draw.
    """

    points: float
    low: float
    high: float
    sure: float = 1.0
    """Share of the draws that kept the budget."""

    def __str__(self) -> str:
        return f"{self.points:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def paired_drop(
    reference: Sequence[Scores],
    candidate: Sequence[Scores],
    max_drop: float = float("inf"),
    resamples: int = RESAMPLES,
) -> Drop:
    """The loss of `candidate` relative to `reference`; sets of images are weighted by their size."""
    rng = np.random.default_rng(0)
    whole = sum(scores.images for scores in reference)
    drawn, point = np.zeros(resamples), 0.0
    for left, right in zip(reference, candidate, strict=True):
        share = left.images / whole
        point += share * (left.whole - right.whole)
        counts = rng.multinomial(left.images, np.full(left.images, 1 / left.images), resamples)
        drawn += share * (left.values(counts) - right.values(counts))
    # Some draws lack whole classes, which shifts the mean of AP: take the spread from the draws and the centre from the
    # sample.
    drawn += point - drawn.mean()
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(drawn, (tail, 100 - tail))
    return Drop(point, float(low), float(high), float((drawn <= max_drop).mean()))


class TopOne(Scores):
    """Classification: right or wrong."""

    metric = "top-1"

    def __init__(self, hits: Sequence[bool]) -> None:
        super().__init__(len(hits))
        self._hits = np.asarray(hits, np.float64)

    def values(self, counts: Counts) -> Values:
        """The share of images whose best class is the labelled one."""
        return np.asarray(100 * (counts @ self._hits) / counts.sum(axis=1))


class MeanPsnr(Scores):
    """Image to image: the PSNR of each image, in dB."""

    metric = "PSNR"

    def __init__(self, psnrs: Sequence[float]) -> None:
        super().__init__(len(psnrs))
        self._psnrs = np.asarray(psnrs, np.float64)

    def values(self, counts: Counts) -> Values:
        """The mean of the draw."""
        return np.asarray((counts @ self._psnrs) / counts.sum(axis=1))


class MeanIou(Scores):
    """Semantic segmentation: a confusion matrix ``[C,C]`` for each image, labels in rows."""

    metric = "mIoU"

    def __init__(self, confusions: npt.NDArray[np.int64]) -> None:
        super().__init__(len(confusions))
        self._confusions = confusions

    def values(self, counts: Counts) -> Values:
        """Intersection over union, averaged over the classes that are labelled in the draw."""
        summed = np.tensordot(counts, self._confusions, axes=1).astype(np.float64)
        both = np.diagonal(summed, axis1=1, axis2=2)
        labelled = summed.sum(axis=2)
        either = np.maximum(labelled + summed.sum(axis=1) - both, 1)
        known = labelled > 0
        return np.asarray(100 * (both / either * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1))


@dataclass(frozen=True, slots=True, eq=False)
class ClassTable:
    """One class's detections in descending order of score.

    `image` ``[D]``: index of the image. `right`, `ignored` ``[T,D]``: at each IoU threshold. `truths` ``[N]``: boxes of
    the class in each image.
    """

    image: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    truths: npt.NDArray[np.int64]


class AveragePrecision(Scores):
    """Detection: COCO's AP over IoU 0.50 to 0.95, summed from COCOeval's own matches."""

    metric = "AP"

    def __init__(self, tables: Sequence[ClassTable], images: int) -> None:
        super().__init__(images)
        self._tables = tables

    @classmethod
    def of(cls, evaluation: Any, image_ids: Sequence[int]) -> AveragePrecision:
        """Read an evaluated ``COCOeval``: matches of all areas."""
        index = {image_id: number for number, image_id in enumerate(image_ids)}
        areas = evaluation.params.areaRng[0]
        by_class: dict[int, list[Any]] = {}
        for entry in evaluation.evalImgs:
            if entry is not None and list(entry["aRng"]) == list(areas):
                by_class.setdefault(entry["category_id"], []).append(entry)
        tables = [_class_table(entries, index) for entries in by_class.values()]
        return cls([table for table in tables if table.truths.any()], len(image_ids))

    def values(self, counts: Counts) -> Values:
        """The mean over the classes that have a box in the draw, and over IoU thresholds."""
        summed, known = np.zeros(len(counts)), np.zeros(len(counts))
        for table in self._tables:
            present = counts @ table.truths > 0
            summed += np.where(present, _average_precision(table, counts), 0.0)
            known += present
        return np.asarray(100 * summed / np.maximum(known, 1))


_RECALLS = np.linspace(0, 1, 101)


def _average_precision(table: ClassTable, counts: Counts) -> Values:
    """COCO's 101-point interpolated average precision for every draw; detections count as often as their image.

    Precision can peak only at correct detections, so it is computed only there. Detections between two of them add
    nothing.
    """
    weight = counts[:, table.image].astype(np.float64)
    truths = np.maximum(counts @ table.truths, 1)[:, None]
    all_found = np.cumsum(weight, axis=1)
    total = np.zeros(len(counts))
    for right, ignored in zip(table.right, table.ignored, strict=True):
        places = np.flatnonzero(right & ~ignored)
        if not len(places):
            continue
        found = np.cumsum(weight * ~ignored, axis=1) if ignored.any() else all_found
        hits = np.cumsum(weight[:, places], axis=1)
        precision = hits / np.maximum(found[:, places], 1)
        best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # Comparison as in COCO: 7 of 20 differs from 0.35 in its list of recalls.
        reached = np.searchsorted(_RECALLS, hits / truths, side="right")
        newly = np.diff(reached, axis=1, prepend=0)
        total += (best_from_here * newly).sum(axis=1) / 101
    return total / len(table.right)


def _class_table(entries: Sequence[Any], index: dict[int, int]) -> ClassTable:
    truths = np.zeros(len(index), np.int64)
    images, scores, right, ignored = [], [], [], []
    for entry in entries:
        number = index[entry["image_id"]]
        truths[number] += int(np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0))
        images.append(np.full(len(entry["dtScores"]), number))
        scores.append(np.asarray(entry["dtScores"], np.float64))
        right.append(np.asarray(entry["dtMatches"]) > 0)
        ignored.append(np.asarray(entry["dtIgnore"]).astype(bool))
    order = np.argsort(-np.concatenate(scores), kind="mergesort")
    return ClassTable(
        np.concatenate(images).astype(np.int64)[order],
        np.concatenate(right, axis=1)[:, order],
        np.concatenate(ignored, axis=1)[:, order],
        truths,
    )
