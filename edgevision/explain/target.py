"""Selects one of a frame's answers, and measures how much of it remains in answers to other frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.contract.results import Outputs, reached
from edgevision.contract.rotated import overlap_matrix, upright
from edgevision.contract.spec import BOX_TASKS, ModelSpec
from edgevision.contract.thresholds import THRESHOLD, Threshold
from edgevision.errors import UsageError


@dataclass(frozen=True, slots=True)
class TargetChoice:
    """The answer to explain; by default the best one."""

    index: int | None = None
    """Position in the order of scores, from 0; counts within `class_name` if both are given."""
    class_name: str | None = None
    threshold: Threshold = THRESHOLD
    """Minimum score of a detection; not used for other tasks."""


@dataclass(frozen=True, slots=True, eq=False)
class ExplainTarget:
    """The answer to explain.

    `box` float32 ``[4]`` xyxy in input pixels for a detection, `region` bool ``[H,W]`` of the input for a
    segmentation's class, neither for a classification. `score` is the share of the frame for a segmentation.
    """

    label: int
    name: str
    score: float
    box: npt.NDArray[np.float32] | None = None
    region: npt.NDArray[np.bool_] | None = None
    oriented: npt.NDArray[np.float32] | None = None
    """The oriented box ``[5]`` of which `box` is the hull."""


def choose_target(spec: ModelSpec, outputs: Outputs, choice: TargetChoice) -> ExplainTarget:
    """The chosen answer, from the outputs for one frame (batch 1); raises `UsageError`."""
    if spec.task == "translate":
        raise UsageError(
            f"{spec.name} makes images; expected a model with classes, whose results can be explained"
        )
    if choice.class_name is not None and choice.class_name not in spec.classes:
        raise UsageError(
            f"{spec.name} has no class {choice.class_name!r}; its classes: {', '.join(spec.classes) or 'unnamed'}"
        )
    if spec.task == "classify":
        labels, scores = np.argsort(-outputs[0][0], kind="stable"), np.sort(outputs[0][0])[::-1]
    elif spec.task == "segment":
        counts = np.bincount(outputs[0][0].ravel())
        labels = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        scores = counts[labels] / outputs[0][0].size
    else:
        labels, scores = outputs[2][0], outputs[1][0]
        keep = reached(choice.threshold, scores, labels) & (scores > 0)
        labels, scores = labels[keep], scores[keep]
    rows = np.arange(len(labels))
    if choice.class_name is not None:
        rows = rows[labels == spec.classes.index(choice.class_name)]
    index = choice.index or 0
    if not 0 <= index < len(rows):
        raise UsageError(_nothing_there(spec, outputs, choice, len(rows)))
    row = int(rows[index])
    label = int(labels[row])
    name = spec.classes[label] if label < len(spec.classes) else str(label)
    found = outputs[0][0][keep][row : row + 1] if spec.task in BOX_TASKS else None
    box = None if found is None else upright(found)[0].astype(np.float32)
    oriented = found[0] if found is not None and spec.task == "obb" else None
    region = outputs[0][0] == label if spec.task == "segment" else None
    return ExplainTarget(label, name, float(scores[row]), box, region, oriented)


def likeness(target: ExplainTarget, outputs: Outputs) -> npt.NDArray[np.float64]:
    """Similarity of the target to each answer of a batch, ``[B]`` in 0..1.

    A detection: the greatest product of score and IoU (ProbIoU if oriented) among the boxes of its class. A
    classification: the class's score. A segmentation: the share of the target's pixels that have its class.
    """
    if target.region is not None:
        return np.asarray((outputs[0][:, target.region] == target.label).mean(axis=1))
    if target.box is None:
        return np.asarray(outputs[0][:, target.label], np.float64)
    wanted = target.box if target.oriented is None else target.oriented
    best = np.zeros(len(outputs[0]))
    for row, (boxes, scores, labels) in enumerate(zip(*outputs[:3], strict=True)):
        same = (labels == target.label) & (scores > 0)
        if same.any():
            best[row] = (overlap_matrix(boxes[same], wanted[None])[:, 0] * scores[same]).max()
    return best


def _nothing_there(spec: ModelSpec, outputs: Outputs, choice: TargetChoice, count: int) -> str:
    what = {"classify": "classes", "segment": "classes in the mask"}.get(spec.task, "detections")
    of_class = f" of class {choice.class_name}" if choice.class_name else ""
    if spec.task in ("classify", "segment"):
        return f"{spec.name} answered {count} {what}{of_class}; there is no index {choice.index or 0}"
    best = int(np.argmax(outputs[1][0]))
    label = int(outputs[2][0][best])
    name = spec.classes[label] if label < len(spec.classes) else str(label)
    return (
        f"{spec.name} answered {count} {what}{of_class} of score {choice.threshold:g} or more, so there is no index"
        f" {choice.index or 0}; the best of all is {name} {outputs[1][0][best]:.3f}: lower --threshold or --index"
    )
