"""COCO's metrics of boxes and of masks, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pycocotools.mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgevision.contract.results import Detections, Instances
from edgevision.contract.session import Session
from edgevision.datasets.coco import CocoFile, read_coco_file
from edgevision.datasets.dota import is_dota, read_dota
from edgevision.datasets.image_check import usable_files
from edgevision.datasets.opening import LabelReading, coco_from_boxes, read_held
from edgevision.errors import UsageError
from edgevision.evaluation.running import run_all

PROTOCOL_IOU = 0.65
"""IoU threshold of NMS for measuring; for use 0.45 is common."""
PROTOCOL_FLOOR = 0.001
"""Minimum score for measuring: average precision integrates over all scores."""
PROTOCOL_CANDIDATES = 1000
"""Candidates of NMS for measuring. With fewer, the boxes of low score that average precision also counts are lost."""


ALIASES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""Names that PASCAL VOC and derived label lists use for COCO classes."""


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """One class: AP and AP50 in percent; NaN if it has no labelled box."""

    name: str
    boxes: int
    ap: float
    ap50: float


@dataclass(frozen=True, slots=True)
class DetectionAccuracy:
    """COCO's metrics in percent, of boxes or masks: AP over IoU 0.50:0.95, at 0.50, at 0.75, by size; recall at 100."""

    images: int
    boxes: int
    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    recall100: float
    classes: tuple[ClassAccuracy, ...]


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """A COCO annotation file with its image folder, and the mapping between its categories and a model's classes."""

    coco: COCO
    files: Mapping[int, Path]
    """Image files by image id, in the order of measurement."""
    category_of_label: tuple[int | None, ...]
    """Category id for each of the model's labels; None if the annotations lack the name."""
    left_out: tuple[str, ...] = ()
    """Names of annotated categories that the model lacks: their boxes are not measured."""
    warnings: tuple[str, ...] = ()
    """Skipped, clipped or renumbered items, one line each."""

    @property
    def known(self) -> list[int]:
        """Ids of the categories that the model has."""
        return sorted(category for category in self.category_of_label if category is not None)

    @property
    def truths(self) -> list[dict[str, Any]]:
        """The annotations of all images and categories."""
        content: Any = self.coco.dataset
        found: list[dict[str, Any]] = content["annotations"]
        return found

    @property
    def image_ids(self) -> tuple[int, ...]:
        """In the order of measurement."""
        return tuple(self.files)


def read_annotations(
    annotations: Path,
    folder: Path,
    classes: Sequence[str],
    *,
    limit: int | None = None,
    outlines: bool = False,
) -> LabelledImages:
    """Read labelled images and match their categories to class names.

    `annotations` is a COCO file whose images are in `folder`, a data.yaml (its evaluation part), a YOLO folder, or a
    folder of Pascal VOC's XML. With `outlines` every object must have one, and a folder may hold DOTA's text files.
    Names match if they are equal, or equal by `ALIASES`. Categories that the model lacks
    are skipped and listed in the result. Raises `UsageError` for implausible labels, `SourceError` if an image is not
    in the folder.
    """
    if annotations.suffix == ".json":
        found = read_coco_file(annotations, folder, segmentation=outlines)
    elif outlines and annotations.is_dir() and is_dota(annotations):
        found = read_dota(annotations, folder)
    else:
        reading = LabelReading(images=folder, outlines=outlines)
        found = coco_from_boxes(annotations, read_held(annotations, reading))
    images = found.images[:limit]
    by_name = {ALIASES.get(name, name): category for category, name in found.categories.items()}
    mapping = tuple(by_name.get(ALIASES.get(name, name)) for name in classes)
    if all(category is None for category in mapping):
        raise UsageError(
            f"{annotations} and the model share no class name; annotations: {_few(found.categories.values())};"
            f" model: {_few(classes)}"
        )
    left_out = tuple(name for category, name in found.categories.items() if category not in mapping)
    files = {image.id: image.file for image in images}
    return LabelledImages(_index(found), files, mapping, left_out, found.warnings)


def without_broken(labelled: LabelledImages, *, strict: bool = False) -> LabelledImages:
    """The images that can be decoded, and a warning on the others; raises `SourceError` if too many fail."""
    usable, warnings = usable_files(tuple(labelled.files.values()), strict=strict)
    kept = set(usable)
    files = {key: file for key, file in labelled.files.items() if file in kept}
    return replace(labelled, files=files, warnings=(*labelled.warnings, *warnings))


def _index(found: CocoFile) -> COCO:
    """The index for pycocotools; annotations are renumbered, because it keeps only one for each id."""
    coco = COCO()
    content: Any = {
        "images": [
            {"id": i.id, "file_name": i.file.name, "width": i.size_wh[0], "height": i.size_wh[1]}
            for i in found.images
        ],
        "annotations": [
            {
                "id": number,
                "image_id": box.image_id,
                "category_id": box.category_id,
                "bbox": list(box.xywh),
                "area": box.area,
                "iscrowd": int(box.crowd),
                **({"segmentation": box.segmentation} if box.segmentation is not None else {}),
                **({"keypoints": list(box.keypoints)} if box.keypoints is not None else {}),
            }
            for number, box in enumerate(found.boxes, 1)
        ],
        "categories": [{"id": key, "name": name} for key, name in found.categories.items()],
    }
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def detect_all(session: Session, labelled: LabelledImages) -> Iterator[tuple[int, Detections]]:
    """Run every image; yields (image id, detections down to the graph's minimum score)."""
    return run_all(
        session, labelled.image_ids, lambda key: labelled.files[key], Detections, "detect", threshold=0.0
    )


def rows_for_coco(
    labelled: LabelledImages, detections: Iterable[tuple[int, Detections]]
) -> list[dict[str, object]]:
    """Detections in COCO's result format; classes that the annotations lack are skipped."""
    rows: list[dict[str, object]] = []
    for image_id, found in detections:
        wh = found.boxes[:, 2:] - found.boxes[:, :2]
        for box, side, score, label in zip(found.boxes, wh, found.scores, found.labels, strict=True):
            category = labelled.category_of_label[int(label)]
            if category is not None:
                bbox = [float(v) for v in (box[0], box[1], side[0], side[1])]
                rows.append(
                    {"image_id": image_id, "category_id": category, "bbox": bbox, "score": float(score)}
                )
    return rows


def accuracy_from_detections(
    labelled: LabelledImages, detections: Iterable[tuple[int, Detections]]
) -> DetectionAccuracy:
    """COCO's box metrics over the images and the categories that the model has."""
    rows = rows_for_coco(labelled, detections)
    return _accuracy(labelled, rows, "bbox")


def accuracy_from_instances(
    labelled: LabelledImages, instances: Iterable[tuple[int, Instances]]
) -> DetectionAccuracy:
    """COCO's mask metrics over the images and the categories that the model has.

    Masks are run-length encoded immediately: uncompressed ones of many images would not fit in memory.
    """
    rows: list[dict[str, object]] = []
    for image_id, found in instances:
        image = labelled.coco.loadImgs([image_id])[0]
        size_wh = (int(image["width"]), int(image["height"]))
        for mask, score, label in zip(found.masks, found.scores, found.labels, strict=True):
            category = labelled.category_of_label[int(label)]
            if category is not None:
                coded = pycocotools.mask.encode(np.asfortranarray(mask.of_frame(size_wh).astype(np.uint8)))
                rows.append(
                    {
                        "image_id": image_id,
                        "category_id": category,
                        "segmentation": coded,
                        "score": float(score),
                    }
                )
    return _accuracy(labelled, rows, "segm")


def _accuracy(
    labelled: LabelledImages, rows: list[dict[str, object]], kind: Literal["bbox", "segm"]
) -> DetectionAccuracy:
    known = labelled.known
    if kind == "segm" and any("segmentation" not in truth for truth in labelled.coco.dataset["annotations"]):
        raise UsageError(
            "masks cannot be measured: an annotation has no outline; instances need polygons or run-length codes"
        )
    truths = labelled.coco.getAnnIds(imgIds=list(labelled.image_ids), catIds=known)
    if not rows:
        names = tuple(
            ClassAccuracy(category_name(labelled, c), category_count(labelled, c), 0.0, 0.0) for c in known
        )
        nothing = (0.0,) * 7
        return DetectionAccuracy(len(labelled.image_ids), len(truths), *nothing, names)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(labelled.coco, labelled.coco.loadRes(rows), kind)
        evaluation.params.imgIds = list(labelled.image_ids)
        evaluation.params.catIds = known
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # pycocotools returns -1 if no box is labelled.
    figures = (100 * float(v) if v > -1 else math.nan for v in evaluation.stats[:9])
    ap, ap50, ap75, small, medium, large, _, _, recall100 = figures
    # [IoU thresholds, recalls, categories, areas, detections]: all areas, 100 detections
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    classes = tuple(
        ClassAccuracy(
            category_name(labelled, c),
            category_count(labelled, c),
            mean_precision(precision[:, :, i]),
            mean_precision(precision[0, :, i]),
        )
        for i, c in enumerate(known)
    )
    return DetectionAccuracy(
        len(labelled.image_ids), len(truths), ap, ap50, ap75, small, medium, large, recall100, classes
    )


def mean_precision(precision: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """The mean in percent, without the -1 of what is not labelled; NaN if nothing is."""
    valid = precision[precision > -1]
    return 100 * float(valid.mean()) if valid.size else float("nan")


def category_name(labelled: LabelledImages, category: int) -> str:
    """Name of a category."""
    return str(labelled.coco.loadCats([category])[0]["name"])


def category_count(labelled: LabelledImages, category: int) -> int:
    """Number of its labelled boxes in the images."""
    return len(labelled.coco.getAnnIds(imgIds=list(labelled.image_ids), catIds=[category]))


def _few(names: Iterable[str], count: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:count]) + (f", ... ({len(names)} in all)" if len(names) > count else "")
