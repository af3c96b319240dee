"""Measures graphs on labelled images with one trial for each task, through the session that users run."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pycocotools.cocoeval import COCOeval

from edgevision.contract.overrides import IOU_THRESHOLD, carries
from edgevision.contract.results import Detections, OrientedBoxes, Poses
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import ModelSpec
from edgevision.errors import UsageError
from edgevision.evaluation import detection
from edgevision.evaluation.bootstrap import AveragePrecision, MeanIou, MeanPsnr, Scores, TopOne
from edgevision.evaluation.classification import classify_all, read_class_folders
from edgevision.evaluation.images import find_pairs, measure_all
from edgevision.evaluation.keypoints import keypoint_evaluation, require_keypoints, rows_of_poses
from edgevision.evaluation.oriented import oriented_evaluation, rows_of_oriented, with_oriented_truth
from edgevision.evaluation.segmentation import confusion_matrix, find_masks, read_mask, segment_all

LOG = logging.getLogger(__name__)

Trial = Callable[[Session], Scores]
"""Runs every image of one set and keeps per-image counts."""

MEASURING = SessionOptions(iou_threshold=detection.PROTOCOL_IOU, score_floor=detection.PROTOCOL_FLOOR)


def trial_options(spec: ModelSpec, graph: Path, threads: int | None = None) -> SessionOptions:
    """Session options for a trial of that file: detectors are measured down to the lowest scores.

    Networks with their own NMS, or without any, are measured unchanged.
    """
    if spec.nms is None:
        return SessionOptions(threads=threads)
    suppression = MEASURING.iou_threshold if carries(graph, IOU_THRESHOLD) else None
    return SessionOptions(suppression, MEASURING.score_floor, threads)


def trial_for(spec: ModelSpec, images: Path, annotations: Path | None, limit: int | None) -> Trial:
    """The trial of the model's task on these images; `annotations` are boxes (COCO, or DOTA for
    oriented ones), or a folder of masks.

    Raises `UsageError` if task and annotations do not match, or the task has no metric here.
    """
    if not images.is_dir():
        raise UsageError(f"--eval-images {images} is not a folder")
    if spec.task == "classify":
        return _classification(spec, images, limit)
    if spec.task == "translate":
        return _images(spec, images, annotations, limit)
    if annotations is None:
        kind = "a folder of masks" if spec.task == "segment" else "a COCO file"
        raise UsageError(f"the task {spec.task} needs --annotations with {kind}")
    if spec.task == "segment":
        return _segmentation(spec, images, annotations, limit)
    if spec.task in ("detect", "pose", "obb"):
        return _detection(spec, images, annotations, limit)
    raise UsageError(
        f"the task {spec.task} does not support a budget: its accuracy is not measured per image"
    )


def _classification(spec: ModelSpec, images: Path, limit: int | None) -> Trial:
    found = read_class_folders(images, spec.classes, limit=limit)

    def trial(session: Session) -> Scores:
        return TopOne([image.label == scores.top(1)[0][0] for image, scores in classify_all(session, found)])

    return trial


def _detection(spec: ModelSpec, images: Path, annotations: Path, limit: int | None) -> Trial:
    labelled = detection.read_annotations(
        annotations, images, spec.classes, limit=limit, outlines=spec.task == "obb"
    )
    labelled = detection.without_broken(labelled)
    for warning in labelled.warnings:
        LOG.warning("%s", warning)
    if spec.keypoints is not None:
        require_keypoints(labelled, len(spec.keypoints))
    elif spec.task == "obb":
        labelled = with_oriented_truth(labelled)

    def trial(session: Session) -> Scores:
        found = list(detection.detect_all(session, labelled))
        if not any(len(result) for _, result in found):
            return AveragePrecision([], len(labelled.image_ids))
        evaluation = _evaluation(spec, labelled, found)
        return AveragePrecision.of(evaluation, labelled.image_ids)

    return trial


def _evaluation(
    spec: ModelSpec, labelled: detection.LabelledImages, found: list[tuple[int, Detections]]
) -> COCOeval:
    """The matches of boxes, keypoints or oriented boxes in all images."""
    if spec.keypoints is not None:
        poses = [(key, result) for key, result in found if isinstance(result, Poses)]
        return keypoint_evaluation(labelled, rows_of_poses(labelled, poses), len(spec.keypoints))
    if spec.task == "obb":
        boxes = [(key, result) for key, result in found if isinstance(result, OrientedBoxes)]
        return oriented_evaluation(labelled, rows_of_oriented(labelled, boxes), by_size=False)
    with contextlib.redirect_stdout(io.StringIO()):
        rows = detection.rows_for_coco(labelled, found)
        evaluation = COCOeval(labelled.coco, labelled.coco.loadRes(rows), "bbox")
        evaluation.params.imgIds = list(labelled.image_ids)
        evaluation.params.catIds = labelled.known
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.evaluate()
    return evaluation


def _segmentation(spec: ModelSpec, images: Path, masks: Path, limit: int | None) -> Trial:
    pairs = find_masks(images, masks, limit=limit)
    count = len(spec.classes)

    def trial(session: Session) -> Scores:
        confusions = [
            confusion_matrix(read_mask(pair.mask, count), found.mask, count)
            for pair, found in segment_all(session, pairs)
        ]
        return MeanIou(np.stack(confusions))

    return trial


def _images(spec: ModelSpec, images: Path, targets: Path | None, limit: int | None) -> Trial:
    pairs = find_pairs(spec, images, targets, limit=limit)

    def trial(session: Session) -> Scores:
        return MeanPsnr([quality.psnr for quality, _ in measure_all(session, pairs)])

    return trial


def run_trials(trials: Sequence[Trial], session: Session) -> list[Scores]:
    """Run all sets of images, one after another."""
    return [trial(session) for trial in trials]
