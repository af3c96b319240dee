"""Accuracy of a bundle on labelled images, by its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevision.benchmark.builds import Build
from edgevision.benchmark.records import AccuracyRecord
from edgevision.benchmark.report.rows import main_metric
from edgevision.bundle.folder import Bundle
from edgevision.cli.evaluations import heading_of, shown
from edgevision.cli.generation_metrics import generation_metrics
from edgevision.cli.image_accuracy import image_accuracy
from edgevision.cli.present import table
from edgevision.contract.embedded_spec import embedded_spec
from edgevision.contract.overrides import IOU_THRESHOLD, carries
from edgevision.contract.results import Detections, Instances, OrientedBoxes, Poses
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import BOX_TASKS, ModelSpec, Task
from edgevision.datasets.dota import is_dota
from edgevision.datasets.opening import is_boxes
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.evaluation.classification import accuracy_from_scores, classify_all, read_class_folders
from edgevision.evaluation.segmentation import accuracy_from_masks, find_masks, segment_all
from edgevision.storage.codec import json_from_dataclass

if TYPE_CHECKING:
    from edgevision.evaluation.detection import DetectionAccuracy, LabelledImages
    from edgevision.evaluation.keypoints import KeypointAccuracy
    from edgevision.evaluation.oriented import OrientedAccuracy


def measured_accuracy(
    bundle: Path,
    images: Path,
    annotations: Path | None,
    engine: str | None,
    options: SessionOptions,
    request: ThresholdRequest | None = None,
    *,
    limit: int | None = None,
    strict: bool = False,
    judge: Path | None = None,
) -> tuple[object, list[str]]:
    """The record of the task's metrics and its lines. Raises `UsageError` for labels of another task."""
    request = request or ThresholdRequest(None, write=False)
    if not images.is_dir():
        raise UsageError(f"the images {images} are not a folder; pass a folder of labelled images")
    task = _task_of(bundle)
    if judge is not None and task != "generate":
        raise UsageError(f"--judge compares generated images; {bundle} is for {task}: omit it")
    if task == "generate":
        request.check_unused()
        if annotations is not None:
            raise UsageError(
                "--annotations has no use for a generator; --images contains one folder per class"
            )
        return generation_metrics(bundle, images, judge, limit, engine, options)
    if task == "translate":
        request.check_unused()
        return image_accuracy(bundle, images, annotations, limit, engine, options)
    masks = None if annotations is None else _mask_folder(annotations)
    if annotations is None or masks is not None:
        request.check_unused()
    if annotations is None:
        return _classification(bundle, images, limit, engine, options)
    if masks is not None:
        return _segmentation(bundle, images, masks, limit, engine, options)
    return _detection(bundle, images, annotations, limit, engine, options, request, strict=strict)


def graph_accuracy(build: Build, images: Path, annotations: Path | None) -> AccuracyRecord:
    """The main metric of a build, with its engine and precision; prints all metrics of the task."""
    record, lines = measured_accuracy(build.path, images, annotations, build.engine, build.options)
    click.echo("\n".join(lines), err=True)
    evaluated = json_from_dataclass(record)
    found = main_metric(evaluated)
    parts = (evaluated, evaluated.get("boxes"))
    counted = next((part["images"] for part in parts if isinstance(part, dict) and "images" in part), None)
    if found is None or counted is None:  # every task has a metric
        raise UsageError(f"{build.path} has no accuracy on {images}; measure it with `edgevision eval`")
    return AccuracyRecord(found.metric, round(found.points, 4), counted)


def _task_of(model: Path) -> Task:
    return embedded_spec(model).task if model.suffix == ".onnx" else Bundle.open(model).spec.task


@dataclass(frozen=True, slots=True)
class ThresholdRequest:
    """Thresholds for precision and recall."""

    threshold: float | None
    write: bool

    def check_unused(self) -> None:
        """Raise `UsageError` if thresholds are requested for a task without them."""
        if self.write or self.threshold is not None:
            option = "--write-thresholds" if self.write else "--threshold"
            raise UsageError(
                f"{option} is for models with boxes (detect, instances, pose, obb); expected --annotations with boxes,"
                " received images for classify, segment, translate or generate, which have no confidence threshold"
            )

    def opened(self, model: Path) -> Bundle | None:
        """The bundle; None for a bare file. Raises `UsageError` if an operating point cannot be stored."""
        if model.suffix != ".onnx":
            return Bundle.open(model)
        if self.write:
            raise UsageError(
                f"{model} cannot store an operating point; expected a bundle, received a bare ONNX file:"
                f" edgevision eval BUNDLE --write-thresholds, or remove --write-thresholds"
            )
        return None


def _detection(
    bundle: Path,
    images: Path,
    annotations: Path,
    limit: int | None,
    engine: str | None,
    options: SessionOptions,
    request: ThresholdRequest,
    *,
    strict: bool,
) -> tuple[dict[str, Any], list[str]]:
    from edgevision.cli.extras import require_eval

    require_eval("edgevision eval --annotations")
    from edgevision.cli.operating_point import LabelledRun, lines_at, write_thresholds
    from edgevision.evaluation import detection as measure

    opened = request.opened(bundle)
    graph = bundle if opened is None else opened.graph_path()
    # Networks with their own NMS have no threshold to set; they are measured unchanged.
    protocol = measure.PROTOCOL_IOU if carries(graph, IOU_THRESHOLD) else None
    exported = replace(options, iou_threshold=None)
    options = replace(
        options, iou_threshold=options.iou_threshold or protocol, score_floor=measure.PROTOCOL_FLOOR
    )
    with open_session(bundle, engine=engine, options=options) as session:
        _check_task(session, BOX_TASKS)
        spec = session.spec
        labelled = measure.read_annotations(
            annotations, images, spec.classes, limit=limit, outlines=spec.task == "obb"
        )
        labelled = measure.without_broken(labelled, strict=strict)
        for warning in labelled.warnings:
            click.echo(f"warning: {warning}", err=True)
        found = list(shown(measure.detect_all(session, labelled), len(labelled.image_ids)))
        if labelled.left_out:
            names = ", ".join(labelled.left_out)
            click.echo(f"not measured, because the model has no such class: {names}", err=True)
        record, lines, count = _accuracy(session.spec, labelled, found)
        heading = heading_of(session, f"{len(found)} images, {count} boxes, {_suppression(options)}")
        if protocol is not None:
            _warn_of_few_candidates(spec)
    if request.write or request.threshold is not None or (opened is not None and opened.operating_point):
        with open_session(bundle, engine=engine, options=exported) as session:
            found = list(shown(measure.detect_all(session, labelled), len(labelled.image_ids)))
            run = LabelledRun(session, annotations, labelled, found)
            if opened is not None and request.write:
                point, more = write_thresholds(opened, run)
                record["operating_point"] = json_from_dataclass(point)
            else:
                at, more = lines_at(run, request.threshold)
                record["at_threshold"] = json_from_dataclass(at)
        lines += more
    return record, [heading, *lines]


def _suppression(options: SessionOptions) -> str:
    used = options.iou_threshold
    found = "the network's own NMS" if used is None else f"NMS IoU {used:g}"
    return f"{found}, score threshold {options.score_floor:g}"


def _warn_of_few_candidates(spec: ModelSpec) -> None:
    """Print how to measure boxes of low score, if the graph's NMS takes fewer candidates than measuring needs."""
    from edgevision.evaluation.detection import PROTOCOL_CANDIDATES, PROTOCOL_FLOOR

    assert spec.nms is not None  # `_check_task` accepts only tasks with NMS
    if spec.nms.candidates < PROTOCOL_CANDIDATES:
        click.echo(
            f"note: NMS takes the best {spec.nms.candidates} candidates of an image. AP also counts boxes down to a"
            f" score of {PROTOCOL_FLOOR:g}, and can be some tenths higher in a bundle exported with --pre-nms-topk"
            f" {PROTOCOL_CANDIDATES}",
            err=True,
        )


def _accuracy(
    spec: ModelSpec, labelled: LabelledImages, found: Sequence[tuple[int, Detections]]
) -> tuple[dict[str, Any], list[str], int]:
    """The record, its lines, and the number of labelled boxes, for the model's task."""
    from edgevision.evaluation import detection as measure
    from edgevision.evaluation.keypoints import accuracy_from_poses
    from edgevision.evaluation.oriented import accuracy_from_oriented, with_oriented_truth

    if spec.task == "obb":
        turned = [(image_id, result) for image_id, result in found if isinstance(result, OrientedBoxes)]
        oriented = accuracy_from_oriented(with_oriented_truth(labelled), turned)
        return json_from_dataclass(oriented), _oriented_lines(oriented), oriented.boxes
    boxes = measure.accuracy_from_detections(labelled, found)
    record: dict[str, Any] = {"boxes": json_from_dataclass(boxes)}
    if spec.task == "instances":
        instances = [(image_id, result) for image_id, result in found if isinstance(result, Instances)]
        masks = measure.accuracy_from_instances(labelled, instances)
        record["masks"] = json_from_dataclass(masks)
        return record, [*_detection_lines(boxes, "box "), *_detection_lines(masks, "mask ")], boxes.boxes
    if spec.keypoints is not None:
        poses = [(image_id, result) for image_id, result in found if isinstance(result, Poses)]
        keypoints = accuracy_from_poses(labelled, poses, len(spec.keypoints))
        record["keypoints"] = json_from_dataclass(keypoints)
        return record, [*_detection_lines(boxes, "box "), *_keypoint_lines(keypoints)], boxes.boxes
    return json_from_dataclass(boxes), _detection_lines(boxes, ""), boxes.boxes


def _keypoint_lines(accuracy: KeypointAccuracy) -> list[str]:
    rows = [[c.name, str(c.boxes), f"{c.ap:.1f}", f"{c.ap50:.1f}"] for c in accuracy.classes if c.boxes]
    return [
        *table(["class", "poses", "OKS AP", "OKS AP50"], rows),
        f"OKS AP {accuracy.ap:.1f}  AP50 {accuracy.ap50:.1f}  AP75 {accuracy.ap75:.1f}"
        f"  medium {accuracy.ap_medium:.1f}  large {accuracy.ap_large:.1f}  recall@20 {accuracy.recall20:.1f}",
    ]


def _oriented_lines(accuracy: OrientedAccuracy) -> list[str]:
    rows = [[c.name, str(c.boxes), f"{c.ap:.1f}", f"{c.ap50:.1f}"] for c in accuracy.classes if c.boxes]
    return [
        *table(["class", "boxes", "AP", "AP50"], rows),
        f"AP {accuracy.ap:.1f}  AP50 {accuracy.ap50:.1f}  AP75 {accuracy.ap75:.1f}  small {accuracy.ap_small:.1f}"
        f"  medium {accuracy.ap_medium:.1f}  large {accuracy.ap_large:.1f}  recall {accuracy.recall:.1f}",
    ]


def _detection_lines(accuracy: DetectionAccuracy, kind: str) -> list[str]:
    rows = [[c.name, str(c.boxes), f"{c.ap:.1f}", f"{c.ap50:.1f}"] for c in accuracy.classes if c.boxes]
    return [
        *table(["class", "boxes", f"{kind}AP", f"{kind}AP50"], rows),
        f"{kind}AP {accuracy.ap:.1f}  AP50 {accuracy.ap50:.1f}  AP75 {accuracy.ap75:.1f}  small {accuracy.ap_small:.1f}"
        f"  medium {accuracy.ap_medium:.1f}  large {accuracy.ap_large:.1f}  recall@100 {accuracy.recall100:.1f}",
    ]


def _segmentation(
    bundle: Path,
    images: Path,
    masks: Path,
    limit: int | None,
    engine: str | None,
    options: SessionOptions,
) -> tuple[object, list[str]]:
    with open_session(bundle, engine=engine, options=options) as session:
        _check_task(session, ("segment",))
        found = find_masks(images, masks, limit=limit)
        accuracy = accuracy_from_masks(session.spec.classes, shown(segment_all(session, found), len(found)))
        heading = heading_of(session, f"{accuracy.images} images")
    rows = [[c.name, f"{c.share:.2f}", f"{c.iou:.1f}"] for c in accuracy.classes if c.share]
    lines = [
        heading,
        *table(["class", "% of pixels", "IoU"], rows),
        f"mIoU {accuracy.miou:.2f} %  pixels {accuracy.pixels:.2f} %",
    ]
    return json_from_dataclass(accuracy), lines


def _classification(
    bundle: Path, images: Path, limit: int | None, engine: str | None, options: SessionOptions
) -> tuple[object, list[str]]:
    with open_session(bundle, engine=engine, options=options) as session:
        _check_task(session, ("classify",))
        found = read_class_folders(images, session.spec.classes, limit=limit)
        answers = list(shown(classify_all(session, found), len(found)))
        accuracy = accuracy_from_scores(session.spec.classes, answers)
        heading = heading_of(session, f"{accuracy.images} images")
    rows = [[c.name, str(c.images), f"{c.recall:.1f}"] for c in accuracy.classes if c.images]
    lines = [
        heading,
        *table(["class", "images", "recall"], rows),
        f"top-1 {accuracy.top1:.2f} %  top-5 {accuracy.top5:.2f} %",
    ]
    return json_from_dataclass(accuracy), lines


_LABELS: dict[Task, str] = {
    "classify": "omit --annotations; --images contains one folder per class",
    "detect": "expected --annotations FILE.json in COCO's format",
    "instances": "expected --annotations FILE.json in COCO's format, with polygons",
    "segment": "expected --annotations FOLDER of masks, one PNG per image",
    "pose": "expected --annotations FILE.json in COCO's format, with keypoints",
    "obb": "expected --annotations FOLDER of DOTA's text files, or polygons in COCO's or YOLO's format",
}


def _mask_folder(annotations: Path) -> Path | None:
    """The folder if it holds masks; None for labels of boxes.

    Raises `UsageError` for YOLO's text files alone, whose class names are elsewhere.
    """
    if not annotations.is_dir() or is_boxes(annotations) or is_dota(annotations):
        return None
    if any(annotations.glob("*.txt")) and not any(annotations.glob("*.png")):
        raise UsageError(
            f"{annotations} has text files, as YOLO's labels, but no class names; expected a data.yaml, or the folder"
            " that contains images/, labels/ and classes.txt"
        )
    return annotations


def _check_task(session: Session, wanted: tuple[Task, ...]) -> None:
    task = session.spec.task
    if task not in wanted:
        raise UsageError(
            f"{session.spec.name} is for {task}, these labels are for {wanted[0]}: {_LABELS[task]}"
        )
