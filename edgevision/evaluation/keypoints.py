"""COCO's metrics of keypoints (OKS), computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pycocotools.cocoeval import COCOeval

from edgevision.contract.results import Poses
from edgevision.errors import UsageError
from edgevision.evaluation.detection import (
    ClassAccuracy,
    LabelledImages,
    category_name,
    mean_precision,
)

COCO_COUNT = 17


@dataclass(frozen=True, slots=True)
class KeypointAccuracy:
    """COCO's metrics in percent: AP over OKS 0.50:0.95, at 0.50, at 0.75, by size; recall at 20."""

    images: int
    poses: int
    """Labelled objects with at least one keypoint."""
    ap: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    recall20: float
    classes: tuple[ClassAccuracy, ...]


def rows_of_poses(labelled: LabelledImages, found: Iterable[tuple[int, Poses]]) -> list[dict[str, object]]:
    """Poses in COCO's result format; classes that the annotations lack are skipped."""
    rows: list[dict[str, object]] = []
    for image_id, result in found:
        for points, score, label in zip(result.keypoints, result.scores, result.labels, strict=True):
            category = labelled.category_of_label[int(label)]
            if category is not None:
                rows.append(
                    {
                        "image_id": image_id,
                        "category_id": category,
                        "keypoints": points.astype(np.float64).ravel().tolist(),
                        "score": float(score),
                    }
                )
    return rows


def require_keypoints(labelled: LabelledImages, count: int) -> None:
    """Raise `UsageError` unless the annotations have `count` keypoints."""
    known = set(labelled.known)
    truths = [t for t in labelled.truths if t["category_id"] in known]
    counts = {len(t["keypoints"]) // 3 for t in truths if "keypoints" in t}
    if not counts:
        raise UsageError(
            "poses cannot be measured: no annotation has keypoints; expected COCO's keypoint format"
        )
    if counts != {count}:
        theirs = ", ".join(map(str, sorted(counts)))
        raise UsageError(
            f"the annotations have {theirs} keypoints; the model has {count}: use labels of its kind"
        )
    for truth in truths:
        # Objects without keypoints are ignored, but pycocotools reads the key.
        truth.setdefault("keypoints", [0.0] * 3 * count)
        truth["num_keypoints"] = int(np.count_nonzero(np.array(truth["keypoints"][2::3]) > 0))


def keypoint_evaluation(labelled: LabelledImages, rows: list[dict[str, object]], count: int) -> COCOeval:
    """The matches of all images, before they are summed."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = keypoint_evaluator(labelled, rows, count)
        evaluation.params.imgIds = list(labelled.image_ids)
        evaluation.params.catIds = labelled.known
        evaluation.evaluate()
    return evaluation


def keypoint_evaluator(labelled: LabelledImages, rows: list[dict[str, object]], count: int) -> COCOeval:
    """The comparison of poses of `count` keypoints by OKS, not yet run.

    COCO defines the falloff of OKS for its 17 keypoints. Other poses use 1 / `count` for each.
    """
    evaluation = COCOeval(labelled.coco, labelled.coco.loadRes(rows), "keypoints")
    if count != COCO_COUNT:
        evaluation.params.kpt_oks_sigmas = np.full(count, 1 / count)
    return evaluation


def accuracy_from_poses(
    labelled: LabelledImages, found: Iterable[tuple[int, Poses]], count: int
) -> KeypointAccuracy:
    """Metrics of poses of `count` keypoints over the images and the categories that the model has.

    Raises `UsageError` for annotations without keypoints or with another number of them.
    """
    require_keypoints(labelled, count)
    known, images = labelled.known, set(labelled.image_ids)
    counts = [
        sum(
            t["category_id"] == category and t["image_id"] in images and t["num_keypoints"] > 0
            for t in labelled.truths
        )
        for category in known
    ]
    rows = rows_of_poses(labelled, found)
    if not rows:
        names = tuple(
            ClassAccuracy(category_name(labelled, c), n, 0.0, 0.0) for c, n in zip(known, counts, strict=True)
        )
        return KeypointAccuracy(len(images), sum(counts), 0, 0, 0, 0, 0, 0, names)
    evaluation = keypoint_evaluation(labelled, rows, count)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    # [OKS thresholds, recalls, categories, areas: all, medium, large]
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    recall = np.asarray(evaluation.eval["recall"])[..., 0, -1]
    whole = precision[..., 0]
    classes = tuple(
        ClassAccuracy(
            category_name(labelled, c), n, mean_precision(whole[:, :, i]), mean_precision(whole[0, :, i])
        )
        for i, (c, n) in enumerate(zip(known, counts, strict=True))
    )
    return KeypointAccuracy(
        len(images),
        sum(counts),
        mean_precision(whole),
        mean_precision(whole[0]),
        mean_precision(whole[5]),
        mean_precision(precision[..., 1]),
        mean_precision(precision[..., 2]),
        mean_precision(recall),
        classes,
    )
