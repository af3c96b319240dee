"""A detector's training: data, anchors, network and measurement put together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from edgevision.accuracy.detection import DetectionAccuracy
from edgevision.errors import UsageError
from edgevision.models.yolov5 import yolov5
from edgevision.train.anchors import fit_anchors, fitness
from edgevision.train.box_validation import BoxValidation, decode_maps
from edgevision.train.boxes import BoxDataset, BoxLabels, ClassNames, read_coco, read_yolo
from edgevision.train.detector import BoxDrawer, DetectorInTraining, TensorOf
from edgevision.train.job import Job, Task, progress_of, settings_json
from edgevision.train.pictures import Picture, load_pictures
from edgevision.train.plan import DetectorPlan

Anchors = tuple[tuple[tuple[float, float], ...], ...]

_MOST_ENLARGED = 1.6
"""Pictures are kept at this many times the detector's size, the most that augmentation enlarges them to."""


def detector_task(job: Job, plan: DetectorPlan, tensor_of: TensorOf) -> Task:
    """Read everything that the job names; raises `UsageError` and `SourceError`."""
    train, held = _data(job)
    if not any(map(len, train.boxes)):
        raise UsageError(f"{job.data} holds no box of the classes {', '.join(train.classes)}")
    if job.monitor is not None and job.monitor not in train.classes:
        raise UsageError(f"--monitor {job.monitor!r} is not one of {', '.join(train.classes)}")
    longest_side = round(plan.size * _MOST_ENLARGED)
    pictures = load_pictures(train.files, longest_side)
    anchors, fit = _anchors(train, pictures, plan)
    progress = progress_of(job, len(train))
    model = yolov5(plan.model, class_count=len(train.classes), anchors_px=anchors, names=train.classes)
    module = DetectorInTraining(model, plan, progress, job.seed, tensor_of)
    average = module.average.model
    measure = BoxValidation(
        held,
        load_pictures(held.files, longest_side),
        lambda frames: decode_maps(average(tensor_of(frames)), module.anchors_px, model.strides),
        size=plan.size,
    )
    return Task(
        module=module,
        count=len(train),
        draw=BoxDrawer(train, pictures, plan, progress),
        order=None,
        measure=lambda: _row(measure(module.device)),
        monitor=f"AP50 {job.monitor}" if job.monitor else "AP50",
        panels=(
            ("losses", ("loss", "box", "objectness", "classes")),
            ("AP50 on the held part, %", ("AP50", *(f"AP50 {name}" for name in held.classes))),
            ("learning rate, share of the peak", ("lr",)),
        ),
        metadata=_metadata(job, plan, train, module.anchors_px),
        facts=(
            f"{len(train)} images, boxes: {_listed(train.counts())}",
            f"held: {len(held)} images, boxes: {_listed(held.counts())}",
            f"anchors fit the boxes to {fit:.3f} of 1: {anchors}",
        ),
    )


def _data(job: Job) -> tuple[BoxDataset, BoxDataset]:
    wanted = ClassNames.parse(job.classes) if job.classes else None
    train = read_boxes(Path(job.data), Path(job.images) if job.images else None, wanted)
    if job.held is None:
        return train.split(job.seed)
    names = wanted or ClassNames(train.classes)
    return train, read_boxes(Path(job.held), Path(job.held_images) if job.held_images else None, names)


def read_boxes(data: Path, images: Path | None, wanted: ClassNames | None) -> BoxDataset:
    """COCO json with its images in `images`, or in the folder of its name beside it; or a YOLO folder."""
    if data.is_dir():
        return read_yolo(data, _yolo_names(data), wanted)
    if data.suffix != ".json" or not data.is_file():
        raise UsageError(f"--data {data} is neither a COCO .json file nor a folder with images/ and labels/")
    folder = images or data.with_suffix("")
    if not folder.is_dir():
        raise UsageError(f"the images of {data} are not in {folder}; say where with --images")
    return read_coco(data, folder, wanted)


def _yolo_names(folder: Path) -> tuple[str, ...]:
    file = folder / "classes.txt"
    try:
        names = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}; it names the class numbers, one name a line"
        ) from error
    names = names[: len(names) - next((i for i, name in enumerate(reversed(names)) if name), 0)]
    if not names or not all(names):
        raise UsageError(f"{file}:{names.index('') + 1 if names else 1}: a class has no name")
    return names


def _metadata(job: Job, plan: DetectorPlan, train: BoxDataset, anchors_px: Anchors) -> dict[str, str]:
    return {
        "names": json.dumps(train.classes),
        "recipe": job.recipe,
        "size": json.dumps([plan.size, plan.size]),
        "anchors_px": json.dumps(anchors_px),
        "torch": torch.__version__,
        "job": settings_json(job),
    }


def _row(accuracy: DetectionAccuracy) -> dict[str, float]:
    row = {"AP": accuracy.ap, "AP50": accuracy.ap50}
    return row | {f"AP50 {found.name}": found.ap50 for found in accuracy.classes if found.boxes}


def _anchors(train: BoxDataset, pictures: tuple[Picture, ...], plan: DetectorPlan) -> tuple[Anchors, float]:
    """Three anchors for each of three strides, fitted to the boxes at the detector's own size."""
    sizes = np.concatenate(
        [_sizes_px(boxes, picture, plan.size) for boxes, picture in zip(train.boxes, pictures, strict=True)]
    )
    sizes = sizes[sizes.min(1) >= 2]
    if len(sizes) < 9:
        raise UsageError(f"anchors need at least 9 boxes of 2 px and more; the data holds {len(sizes)}")
    found = fit_anchors(sizes, 9)
    pairs = [(round(float(w), 1), round(float(h), 1)) for w, h in found]
    return tuple(tuple(pairs[start : start + 3]) for start in (0, 3, 6)), fitness(sizes, found)


def _sizes_px(
    boxes: BoxLabels, picture: Picture, longest_side: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    height, width = picture.shape[:2]
    sides = (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]) * [width, height] * (longest_side / max(width, height))
    return np.asarray(sides, np.float64)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
