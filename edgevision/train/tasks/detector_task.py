"""The task of training a detector, with or without masks: data, anchors, network and validation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from edgevision.datasets.boxes import BoxDataset, BoxLabels, ClassNames
from edgevision.datasets.image_check import accept, decode_all
from edgevision.datasets.opening import LabelReading, Split, read_split
from edgevision.errors import UsageError
from edgevision.evaluation.detection import DetectionAccuracy
from edgevision.models.plan import DetectorPlan, InstancePlan
from edgevision.models.yolov5.model import YoloV5, yolov5
from edgevision.train.data.anchors import fit_anchors, fitness
from edgevision.train.data.pictures import Picture, load_picture
from edgevision.train.job import Job, TrainingTask, progress_of, settings_json
from edgevision.train.starting import started
from edgevision.train.tasks.box_validation import BoxValidation, decode_maps
from edgevision.train.tasks.detector import BoxDrawer, DetectorInTraining, TensorOf
from edgevision.train.tasks.instance_validation import InstanceValidation

Anchors = tuple[tuple[tuple[float, float], ...], ...]

_MOST_ENLARGED = 1.6
"""Images are stored at this many times the detector's size, the maximum that augmentation enlarges them to."""


def detector_task(job: Job, plan: DetectorPlan, tensor_of: TensorOf) -> TrainingTask:
    """Read all data of the job; raises `UsageError` and `SourceError`."""
    split = _split(job, outlines=isinstance(plan, InstancePlan))
    longest_side = round(plan.size * _MOST_ENLARGED)
    train, pictures = _decoded(split.train, longest_side, strict=job.strict)
    held, held_pictures = _decoded(split.held, longest_side, strict=job.strict)
    if not any(map(len, train.boxes)):
        raise UsageError(f"{job.data} holds no box of the classes {', '.join(train.classes)}")
    if job.monitor is not None and job.monitor not in train.classes:
        raise UsageError(f"--monitor {job.monitor!r} is not one of {', '.join(train.classes)}")
    anchors, fit = _anchors(train, pictures, plan)
    progress = progress_of(job, len(train))
    model, start = _network(job, plan, train, anchors)
    module = DetectorInTraining(model, plan, progress, job.seed, tensor_of)
    measure = _measure(module, held, held_pictures, plan, tensor_of)
    masks = isinstance(plan, InstancePlan)
    figure = "mask AP50" if masks else "AP50"
    return TrainingTask(
        module=module,
        count=len(train),
        draw=BoxDrawer(train, pictures, plan),
        order=None,
        measure=measure,
        monitor=f"{figure} {job.monitor}" if job.monitor else figure,
        panels=(
            ("losses", ("loss", "box", "objectness", "classes", *(("masks",) if masks else ()))),
            ("AP50 on the validation data, %", _curves(held, masks=masks)),
            ("learning rate, share of the peak", ("lr",)),
        ),
        metadata=_metadata(job, plan, train, module.anchors_px),
        facts=(
            f"{len(train)} images, boxes: {_listed(train.counts())}",
            f"held: {len(held)} images, boxes: {_listed(held.counts())}; {split.source}",
            *_nothing_held(held),
            *dict.fromkeys((*train.warnings, *held.warnings)),
            f"anchors fit the boxes to {fit:.3f} of 1: {anchors}",
            *start,
        ),
    )


def _network(
    job: Job, plan: DetectorPlan, train: BoxDataset, anchors: Anchors
) -> tuple[YoloV5, tuple[str, ...]]:
    """The network, and a line on its initial weights if they are not random."""
    masks = plan.prototypes if isinstance(plan, InstancePlan) else 0
    count, names = len(train.classes), train.classes
    model = yolov5(plan.model, class_count=count, anchors_px=anchors, names=names, mask_count=masks)
    return model, started(model, job.weights, model.variant)


def _measure(
    module: DetectorInTraining,
    held: BoxDataset,
    pictures: tuple[Picture, ...],
    plan: DetectorPlan,
    tensor_of: TensorOf,
) -> Callable[[], dict[str, float]]:
    average = module.average.model
    assert isinstance(average, YoloV5)
    if isinstance(plan, InstancePlan):
        validation = InstanceValidation(held, pictures, average, tensor_of, size=plan.size)
        return lambda: validation(module.device)
    boxes = BoxValidation(
        held,
        pictures,
        lambda frames: decode_maps(average(tensor_of(frames)), module.anchors_px, average.strides),
        size=plan.size,
    )
    return lambda: _row(boxes(module.device))


def _curves(held: BoxDataset, *, masks: bool) -> tuple[str, ...]:
    return ("mask AP50", "AP50") if masks else ("AP50", *(f"AP50 {name}" for name in held.classes))


def _split(job: Job, *, outlines: bool) -> Split:
    reading = LabelReading(
        images=Path(job.images) if job.images else None,
        wanted=ClassNames.parse(job.classes) if job.classes else None,
        numbers=Path(job.names) if job.names else None,
        outlines=outlines,
    )
    return read_split(
        Path(job.data),
        reading,
        held=Path(job.held) if job.held else None,
        held_images=Path(job.held_images) if job.held_images else None,
        seed=job.seed,
    )


def _decoded(data: BoxDataset, longest_side: int, *, strict: bool) -> tuple[BoxDataset, tuple[Picture, ...]]:
    """The images that decode, at their final size, and their boxes; warnings list the others."""
    found, broken = decode_all(lambda place: load_picture(data.files[place], longest_side), len(data))
    warnings = (*data.warnings, *accept(broken, len(data), strict=strict))
    kept = [place for place, picture in enumerate(found) if picture is not None]
    pictures = tuple(picture for picture in found if picture is not None)
    return replace(data.subset(kept), warnings=warnings), pictures


def _nothing_held(held: BoxDataset) -> tuple[str, ...]:
    if any(map(len, held.boxes)):
        return ()
    return (
        "WARNING: the validation data has no labelled box, so that nothing can be measured and the last weights are"
        " saved as the best; pass labelled images with --val",
    )


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
