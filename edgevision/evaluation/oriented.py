"""COCO's metrics of oriented boxes: its matching and averages by pycocotools, with exact IoU of rotated rectangles."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.cocoeval import COCOeval

from edgevision.contract.results import OrientedBoxes
from edgevision.contract.rotated import Matrix, rotated_iou_matrix
from edgevision.datasets.dota import oriented_from_outline
from edgevision.errors import UsageError
from edgevision.evaluation.detection import (
    ClassAccuracy,
    LabelledImages,
    category_count,
    category_name,
    mean_precision,
)

MOST_DETECTIONS = 1000
"""Detections of one image and class that are measured: aerial images hold more than COCO's 100."""


@dataclass(frozen=True, slots=True)
class OrientedAccuracy:
    """Metrics in percent: AP over IoU 0.50:0.95, at 0.50, at 0.75, by size (area of the box); recall."""

    images: int
    boxes: int
    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    recall: float
    classes: tuple[ClassAccuracy, ...]


class RotatedEval(COCOeval):
    """pycocotools' evaluation with the IoU of the key ``oriented`` of annotations and detections.

    Its matching is a loop over every pair at every threshold in Python, which takes minutes for aerial images with
    hundreds of objects. `evaluateImg` gives the same matches from arrays.
    """

    _gts: dict[tuple[int, int], list[dict[str, Any]]]
    _dts: dict[tuple[int, int], list[dict[str, Any]]]
    ious: dict[tuple[int, int], Any]

    def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803  # names of the base class
        """IoU ``[D,G]`` of an image's detections of a class, best first, with the labelled boxes."""
        truths, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not truths or not found:
            return []
        order = np.argsort([-row["score"] for row in found], kind="mergesort")[: self.params.maxDets[-1]]
        boxes = np.array([found[i]["oriented"] for i in order], np.float64)
        return rotated_iou_matrix(boxes, np.array([truth["oriented"] for truth in truths], np.float64))

    def evaluateImg(  # noqa: N802  # a name of the base class
        self,
        imgId: int,  # noqa: N803
        catId: int,  # noqa: N803
        aRng: list[int],  # noqa: N803
        maxDet: int,  # noqa: N803
    ) -> Any:
        """The matches of one image and category, with the keys of the base class; None without any box."""
        truths, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not truths and not found:
            return None
        skipped = np.array(
            [bool(g["ignore"]) or not aRng[0] <= g["area"] <= aRng[1] for g in truths], np.bool_
        )
        order = np.argsort(skipped, kind="mergesort")
        truths, skipped = [truths[i] for i in order], skipped[order]
        best_first = np.argsort([-d["score"] for d in found], kind="mergesort")[:maxDet]
        found = [found[i] for i in best_first]
        thresholds: Any = self.params.iouThrs
        matches = np.full((len(thresholds), len(found)), -1)
        if truths and found:
            crowd = np.array([bool(g["iscrowd"]) for g in truths])
            matches = greedy_matches(self.ious[imgId, catId][:, order], thresholds, skipped, crowd)
        matched = matches >= 0
        truth_ids = np.array([g["id"] for g in truths] or [0])
        outside = np.array([not aRng[0] <= d["area"] <= aRng[1] for d in found], np.bool_)
        ignored = np.where(matched, np.append(skipped, False)[matches], outside)
        return {
            "image_id": imgId,
            "category_id": catId,
            "aRng": aRng,
            "maxDet": maxDet,
            "dtIds": [d["id"] for d in found],
            "gtIds": [g["id"] for g in truths],
            "dtMatches": np.where(matched, truth_ids[matches], 0),
            "dtScores": [d["score"] for d in found],
            "gtIgnore": skipped.astype(np.int64),
            "dtIgnore": ignored,
        }


def greedy_matches(
    ious: Matrix,
    thresholds: Sequence[float],
    ignored: npt.NDArray[np.bool_],
    crowd: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """COCO's matching: for each threshold and detection, int64 ``[T,D]``, the matched label, or -1.

    `ious` is ``[D,G]``, the best detection first and `ignored` labels last. A detection takes the free label of the
    highest IoU from the threshold on; an ignored one only if no other fits. A crowd may be taken many times.
    """
    limits = np.minimum(np.asarray(thresholds, np.float64), 1 - 1e-10)[:, None]
    taken = np.zeros((len(limits), len(ignored)), np.bool_)
    matches = np.full((len(limits), len(ious)), -1)
    for row, overlaps in enumerate(ious):
        near = np.flatnonzero(overlaps >= limits.min())
        if not len(near):
            continue
        # Of equal overlaps the last one counts, as in pycocotools.
        near = near[::-1]
        free = (overlaps[near] >= limits) & ~(taken[:, near] & ~crowd[near])
        value = np.where(free, overlaps[near] + 2 * ~ignored[near], -1)
        place = near[value.argmax(axis=1)]
        fits = free.any(axis=1)
        matches[fits, row] = place[fits]
        taken[np.flatnonzero(fits), place[fits]] = True
    return matches


def with_oriented_truth(labelled: LabelledImages) -> LabelledImages:
    """Give every annotation its oriented box, in place: the smallest rectangle around its outline.

    Raises `UsageError` for an annotation without a polygon.
    """
    for truth in labelled.truths:
        if "segmentation" not in truth:
            raise UsageError(
                "oriented boxes cannot be measured: an annotation has no outline; expected DOTA's text files, or COCO"
                " or YOLO labels with polygons"
            )
        truth["oriented"] = oriented_from_outline(truth["segmentation"])
        truth["area"] = truth["oriented"][2] * truth["oriented"][3]
    return labelled


def rows_of_oriented(
    labelled: LabelledImages, found: Iterable[tuple[int, OrientedBoxes]]
) -> list[dict[str, object]]:
    """Detections as pycocotools takes them; classes that the annotations lack are skipped."""
    rows: list[dict[str, object]] = []
    for image_id, result in found:
        boxes = result.oriented.astype(np.float64).tolist()
        for box, score, label in zip(boxes, result.scores, result.labels, strict=True):
            category = labelled.category_of_label[int(label)]
            if category is not None:
                # The upright box gives the area, which decides whether a wrong detection counts for a size.
                rows.append(
                    {
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": [0.0, 0.0, box[2], box[3]],
                        "oriented": box,
                        "score": float(score),
                    }
                )
    return rows


def oriented_evaluation(
    labelled: LabelledImages, rows: list[dict[str, object]], *, by_size: bool = True
) -> COCOeval:
    """The matches of all images, before they are summed; without `by_size` only those of all sizes together."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = RotatedEval(labelled.coco, labelled.coco.loadRes(rows), "bbox")
        evaluation.params.imgIds = list(labelled.image_ids)
        evaluation.params.catIds = labelled.known
        evaluation.params.maxDets = [MOST_DETECTIONS]
        if not by_size:
            evaluation.params.areaRng = evaluation.params.areaRng[:1]
            evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.evaluate()
    return evaluation


def accuracy_from_oriented(
    labelled: LabelledImages, found: Iterable[tuple[int, OrientedBoxes]]
) -> OrientedAccuracy:
    """Metrics over the images and the categories that the model has; `labelled` is of `with_oriented_truth`."""
    rows = rows_of_oriented(labelled, found)
    known = labelled.known
    counts = [category_count(labelled, category) for category in known]
    if not rows:
        names = tuple(
            ClassAccuracy(category_name(labelled, c), n, 0.0, 0.0) for c, n in zip(known, counts, strict=True)
        )
        return OrientedAccuracy(len(labelled.image_ids), sum(counts), 0, 0, 0, 0, 0, 0, 0, names)
    evaluation = oriented_evaluation(labelled, rows)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    # [IoU thresholds, recalls, categories, areas]
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    recall = np.asarray(evaluation.eval["recall"])[..., 0, -1]
    whole = precision[..., 0]
    small, medium, large = (mean_precision(precision[..., area]) for area in (1, 2, 3))
    classes = tuple(
        ClassAccuracy(
            category_name(labelled, c), n, mean_precision(whole[:, :, i]), mean_precision(whole[0, :, i])
        )
        for i, (c, n) in enumerate(zip(known, counts, strict=True))
    )
    return OrientedAccuracy(
        len(labelled.image_ids),
        sum(counts),
        mean_precision(whole),
        mean_precision(whole[0]),
        mean_precision(whole[5]),
        small,
        medium,
        large,
        mean_precision(recall),
        classes,
    )
