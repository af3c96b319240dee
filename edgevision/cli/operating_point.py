"""Precision and recall of `edgevision eval` at confidence thresholds, and the operating point that it writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import edgevision
from edgevision.bundle.folder import Bundle
from edgevision.bundle.operating_point import ClassPoint, OperatingPoint, Overlap
from edgevision.cli.present import table
from edgevision.contract.results import Detections
from edgevision.contract.session import Session
from edgevision.contract.spec import Task, utc_now
from edgevision.contract.thresholds import threshold_of
from edgevision.errors import UsageError
from edgevision.evaluation.detection import LabelledImages
from edgevision.evaluation.operating_point import (
    MATCH_IOU,
    MIN_BOXES,
    ChosenThreshold,
    PrecisionRecall,
    at_thresholds,
    choose_thresholds,
    match_detections,
)
from edgevision.storage.sha256 import sha256_of_file

_OVERLAPS: dict[Task, tuple[Overlap, str, str]] = {
    "pose": ("OKS", "OKS", "poses"),
    "obb": ("IoU", "IoU of rotated boxes", "boxes"),
}
"""For a task: the overlap of a match, in words, and the name of labelled objects."""
_BOXES: tuple[Overlap, str, str] = ("IoU", "IoU", "boxes")


@dataclass(frozen=True, slots=True)
class LabelledRun:
    """Detections in labelled images, with the settings that `edgevision run` has by default."""

    session: Session
    annotations: Path
    labelled: LabelledImages
    found: Sequence[tuple[int, Detections]]

    @property
    def overlap(self) -> tuple[Overlap, str, str]:
        """The overlap of a match, in words, and the name of labelled objects."""
        return _OVERLAPS.get(self.session.spec.task, _BOXES)

    @property
    def settings(self) -> str:
        """How detections were found and matched."""
        return f"NMS as exported, match at {self.overlap[1]} {MATCH_IOU:g}"


def lines_at(run: LabelledRun, threshold: float | None) -> tuple[list[PrecisionRecall], list[str]]:
    """Precision and recall at one threshold, or at the session's own, with their table."""
    spec = run.session.spec
    used = run.session.threshold if threshold is None else threshold
    matches = match_detections(run.labelled, spec, run.found)
    thresholds = {name: threshold_of(used, label) for label, name in enumerate(spec.classes)}
    found = at_thresholds(matches, thresholds)
    whose = f"at {used:g}" if isinstance(used, float) else "at the operating point of the bundle"
    return list(found), [f"confidence threshold {whose}; {run.settings}", *_table(found, run.overlap[2])]


def write_thresholds(bundle: Bundle, run: LabelledRun) -> tuple[OperatingPoint, list[str]]:
    """Choose a threshold for each class, and store the operating point in the bundle; returns it with its table.

    Raises `UsageError` if nothing is labelled, `BundleError` if the bundle cannot be written.
    """
    session, labelled = run.session, run.labelled
    (overlap, _, objects), matches = run.overlap, match_detections(labelled, session.spec, run.found)
    chosen, fallback = choose_thresholds(matches)
    found = at_thresholds(matches, {one.name: one.threshold for one in chosen})
    if not any(at.boxes for at in found):
        raise UsageError(
            f"{run.annotations} has no {objects} of the model's classes in these images, so no threshold can be chosen;"
            " nothing was stored; expected labelled images"
        )
    point = OperatingPoint(
        classes=tuple(_class_point(one, at) for one, at in zip(chosen, found, strict=False)),
        fallback=fallback,
        min_boxes=MIN_BOXES,
        images=len(labelled.files),
        data=run.annotations.name,
        data_sha256=sha256_of_file(run.annotations) if run.annotations.is_file() else None,
        graph_sha256=bundle.graph(session.precision or "float").file.sha256,
        library=session.info.library,
        created=utc_now(),
        edgevision=edgevision.__version__,
        match_iou=MATCH_IOU,
        overlap=overlap,
    )
    # Opening the session may have added a record.
    bundle = Bundle.open(bundle.path).with_operating_point(point)
    few = [one.name for one in chosen if one.fallback]
    lines = [f"operating point; {run.settings}", *_table(found, objects)]
    if few:
        lines.append(
            f"{', '.join(few)}: fewer than {MIN_BOXES} {objects}, so {fallback:g}, measured on all classes together"
        )
    return point, [*lines, f"wrote the operating point to {bundle.path}"]


def _class_point(one: ChosenThreshold, at: PrecisionRecall) -> ClassPoint:
    precision, recall, f1 = (
        None if value is None else round(value, 4) for value in (at.precision, at.recall, at.f1)
    )
    return ClassPoint(one.name, one.threshold, precision, recall, f1, at.boxes, one.fallback)


def _table(found: Iterable[PrecisionRecall], objects: str) -> list[str]:
    rows = [
        [
            one.name,
            str(one.boxes),
            "" if one.threshold is None else f"{one.threshold:.2f}",
            *(
                "-" if value is None else f"{100 * value:.1f}"
                for value in (one.precision, one.recall, one.f1)
            ),
        ]
        for one in found
        if one.boxes or one.detections
    ]
    return table(["class", objects, "threshold", "precision %", "recall %", "F1 %"], rows)
