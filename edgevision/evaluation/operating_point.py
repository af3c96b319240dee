"""Precision and recall at confidence thresholds, and the choice of a threshold for each class."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.cocoeval import COCOeval

from edgevision.contract.results import Detections, OrientedBoxes, Poses
from edgevision.contract.spec import ModelSpec
from edgevision.evaluation.detection import LabelledImages, rows_for_coco
from edgevision.evaluation.keypoints import keypoint_evaluator, require_keypoints, rows_of_poses
from edgevision.evaluation.oriented import (
    MOST_DETECTIONS,
    RotatedEval,
    rows_of_oriented,
    with_oriented_truth,
)

MATCH_IOU = 0.5
"""Minimum overlap of a detection with the labelled object that it finds: IoU of boxes, for poses OKS."""
MIN_BOXES = 20
"""Classes with fewer labelled boxes use the threshold of all classes together."""
STEPS = np.arange(1, 100) / 100
"""The thresholds to choose from, float64 ``[T]``."""
RESAMPLES = 200
SLACK = 1.0
"""Standard errors of F1 below the best F1 that a threshold may lose, see `best_threshold`."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ClassMatches:
    """The detections of one class, matched with its labelled objects at overlap `MATCH_IOU`.

    `scores` float64 ``[N]``, `correct` bool ``[N]``, `images` int64 ``[N]``: the row of each detection's image, and
    `boxes` int64 ``[I]``: the number of labelled boxes of each image.
    """

    name: str
    scores: Floats
    correct: npt.NDArray[np.bool_]
    images: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.int64]

    def of_images(self, chosen: npt.NDArray[np.bool_]) -> ClassMatches:
        """The part in the images of a mask, bool ``[I]``."""
        kept, row = chosen[self.images], np.cumsum(chosen) - 1
        return ClassMatches(
            self.name, self.scores[kept], self.correct[kept], row[self.images[kept]], self.boxes[chosen]
        )


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """One class, or several together, at a threshold."""

    name: str
    threshold: float | None
    """None for classes with different thresholds."""
    boxes: int
    """Number of labelled boxes."""
    detections: int
    """Number of detections with at least the threshold."""
    correct: int
    """Number of detections that found a labelled box."""

    @property
    def precision(self) -> float | None:
        """Share of the detections that are correct; None without a detection."""
        return self.correct / self.detections if self.detections else None

    @property
    def recall(self) -> float | None:
        """Share of the boxes that were found; None without a box."""
        return self.correct / self.boxes if self.boxes else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None without a detection and a box."""
        both = self.detections + self.boxes
        return 2 * self.correct / both if both else None


@dataclass(frozen=True, slots=True)
class ChosenThreshold:
    """The threshold of one class."""

    name: str
    threshold: float
    fallback: bool
    """True: the class has fewer boxes than required, so the threshold is that of all classes together."""


def match_detections(
    labelled: LabelledImages, spec: ModelSpec, found: Iterable[tuple[int, Detections]]
) -> tuple[ClassMatches, ...]:
    """Match by pycocotools' rules: the highest score first, each box once; matches with crowds do not count.

    Detections of oriented boxes match by exact IoU of the rotated boxes, poses by OKS; labelled objects without
    keypoints then count as crowds. A match does not depend on detections of lower scores, so one matching serves every
    threshold. The result has the classes that the labels have. Raises `UsageError` for labels without the outlines or
    keypoints that the task needs.
    """
    pairs = zip(spec.classes, labelled.category_of_label, strict=True)
    known = [(name, category) for name, category in pairs if category is not None]
    ids = sorted(labelled.image_ids)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = _evaluator(labelled, spec, found, {"image_id": ids[0], "category_id": known[0][1]})
        params: Any = evaluation.params
        params.imgIds, params.catIds = ids, sorted({category for _, category in known})
        most = MOST_DETECTIONS if spec.task == "obb" else 100
        params.iouThrs, params.maxDets = np.array([MATCH_IOU]), [most]
        params.areaRng, params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
    results: Any = evaluation.evalImgs
    order = {category: number for number, category in enumerate(params.catIds)}
    return tuple(
        _class_matches(name, results[order[category] * len(ids) : (order[category] + 1) * len(ids)])
        for name, category in known
    )


def _evaluator(
    labelled: LabelledImages,
    spec: ModelSpec,
    found: Iterable[tuple[int, Detections]],
    place: dict[str, object],
) -> COCOeval:
    """The comparison for the model's task, not yet run.

    Without any detection `loadRes` fails; one of score 0 at `place` takes their place, which is not counted.
    """
    box = {**place, "bbox": [-9.0, -9.0, 1.0, 1.0], "score": 0.0}
    if spec.task == "obb":
        turned = [(key, result) for key, result in found if isinstance(result, OrientedBoxes)]
        rows = rows_of_oriented(with_oriented_truth(labelled), turned)
        nothing = {**box, "oriented": [-9.0, -9.0, 1.0, 1.0, 0.0]}
        return RotatedEval(labelled.coco, labelled.coco.loadRes(rows or [nothing]), "bbox")
    if spec.keypoints is not None:
        count = len(spec.keypoints)
        require_keypoints(labelled, count)
        poses = [(key, result) for key, result in found if isinstance(result, Poses)]
        far = {**place, "keypoints": [-9.0, -9.0, 0.0] * count, "score": 0.0}
        return keypoint_evaluator(labelled, rows_of_poses(labelled, poses) or [far], count)
    return COCOeval(labelled.coco, labelled.coco.loadRes(rows_for_coco(labelled, found) or [box]), "bbox")


def _class_matches(name: str, results: Sequence[Mapping[str, Any] | None]) -> ClassMatches:
    scores, correct, images = [], [], []
    boxes = np.zeros(len(results), np.int64)
    for row, result in enumerate(results):
        if result is None:  # neither a box nor a detection
            continue
        score = np.asarray(result["dtScores"], np.float64)
        counted = ~np.asarray(result["dtIgnore"][0], bool) & (score > 0)
        scores.append(score[counted])
        correct.append(np.asarray(result["dtMatches"][0])[counted] > 0)
        images.append(np.full(int(counted.sum()), row, np.int64))
        boxes[row] = np.count_nonzero(np.asarray(result["gtIgnore"]) == 0)
    nothing = np.empty(0)
    return ClassMatches(
        name,
        np.concatenate([nothing, *scores]),
        np.concatenate([nothing.astype(bool), *correct]),
        np.concatenate([nothing.astype(np.int64), *images]),
        boxes,
    )


def at_thresholds(
    matches: Sequence[ClassMatches], thresholds: Mapping[str, float]
) -> tuple[PrecisionRecall, ...]:
    """Precision and recall of each class at its threshold, and of all classes together in the last entry."""
    found = []
    for one in matches:
        kept = one.scores >= np.float32(thresholds[one.name])
        counts = int(one.boxes.sum()), int(kept.sum()), int(one.correct[kept].sum())
        found.append(PrecisionRecall(one.name, thresholds[one.name], *counts))
    same = {thresholds[one.name] for one in matches}
    whole = (sum(getattr(each, name) for each in found) for name in ("boxes", "detections", "correct"))
    return (*found, PrecisionRecall("all", same.pop() if len(same) == 1 else None, *whole))


def choose_thresholds(
    matches: Sequence[ClassMatches], *, min_boxes: int = MIN_BOXES, slack: float = SLACK
) -> tuple[tuple[ChosenThreshold, ...], float]:
    """The threshold of each class, and of all classes together, which is that of classes with few boxes."""
    fallback = best_threshold(pooled(matches), slack=slack)
    chosen = []
    for one in matches:
        few = one.boxes.sum() < min_boxes
        own = fallback if few else best_threshold(one, slack=slack)
        chosen.append(ChosenThreshold(one.name, own, bool(few)))
    return tuple(chosen), fallback


def pooled(matches: Sequence[ClassMatches]) -> ClassMatches:
    """All classes as one; a detection is correct if it found a box of its own class."""
    return ClassMatches(
        "all",
        np.concatenate([one.scores for one in matches]),
        np.concatenate([one.correct for one in matches]),
        np.concatenate([one.images for one in matches]),
        np.sum([one.boxes for one in matches], axis=0),
    )


def best_threshold(matches: ClassMatches, *, slack: float = SLACK) -> float:
    """The highest of `STEPS` whose F1 is at most `slack` standard errors below the best F1.

    F1 is flat around its maximum, so that its place is noise. Among thresholds that the images cannot tell apart, the
    highest has the fewest false detections: the one-standard-error rule (Breiman et al., Classification and Regression
    Trees, 1984, section 3.4). F1 and its standard error are mean and standard deviation over images drawn with
    replacement (Efron and Tibshirani, 1993). Without a correct detection the highest step is returned.
    """
    f1 = _resampled_f1(matches)
    mean = f1.mean(axis=0)
    best = int(np.argmax(mean))
    if mean[best] == 0:
        return float(STEPS[-1])
    close = np.flatnonzero(mean >= mean[best] - slack * f1[:, best].std())
    return float(STEPS[close[-1] if slack else best])


def _resampled_f1(matches: ClassMatches) -> Floats:
    """F1 of each draw of images at each of `STEPS`, float64 ``[R,T]``."""
    count = len(matches.boxes)
    # Number of steps that a detection reaches; 0 is below the first one.
    reached = np.searchsorted(STEPS.astype(np.float32), matches.scores.astype(np.float32), side="right")
    tables = []
    for weights in (np.ones(len(reached)), matches.correct.astype(np.float64)):
        table = np.zeros((count, len(STEPS) + 1))
        np.add.at(table, (matches.images, reached), weights)
        tables.append(np.cumsum(table[:, ::-1], axis=1)[:, ::-1][:, 1:])
    detections, correct = tables
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    both = draws @ detections + (draws @ matches.boxes)[:, None]
    f1: Floats = 2 * (draws @ correct) / np.maximum(both, 1)
    return f1
