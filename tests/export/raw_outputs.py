"""Raw outputs of a checkpoint's model against those of the original code, with the rounding of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgevision.checkpoint.reading import Checkpoint
from edgevision.models.ultralytics.decode import decode, decode_keypoints, decode_oriented, rows_of
from edgevision.models.ultralytics.heads import ObbHead, PoseTowers
from edgevision.models.ultralytics.model import HeadName, UltralyticsModel, ultralytics_from_checkpoint

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """The largest difference of boxes and keypoints in pixels, and of other values relative to their largest."""

    pixels: float
    relative: float


@dataclass(frozen=True)
class RawComparison:
    """One head of a checkpoint on one image."""

    task: str
    head: HeadName
    original: Difference
    """Float32 of the rebuilt model against float32 of the original code."""
    own_rounding: Difference
    """Float32 of the rebuilt model against its float64."""
    original_rounding: Difference
    """Float32 of the original code against float64 of the rebuilt model."""


def compared(checkpoint: Checkpoint, arrays: Mapping[str, Any]) -> Iterator[RawComparison]:
    """Every head of the checkpoint on the recorded image; `arrays` holds `image_bgr` and the recorded outputs."""
    image = torch.from_numpy(arrays["image_bgr"][..., ::-1].copy()).permute(2, 0, 1)[None]
    for head in ultralytics_from_checkpoint(checkpoint).facts.heads:
        model = ultralytics_from_checkpoint(checkpoint, head)
        task = model.facts.task
        single = decoded(model, image.float() / 255)
        double = decoded(model.double(), image.double() / 255)
        expected = published(arrays, head, model.facts.class_count, task)
        own = worst(single, double)
        if head == "one2one":
            single, double, expected = _same_pairs(single, double, expected)
        yield RawComparison(task, head, worst(single, expected), own, worst(expected, double))


def decoded(model: UltralyticsModel, image: torch.Tensor) -> list[Array]:
    """Pixels, scores and further values of one image; probabilities of a classifier.

    Pixels are boxes xyxy, followed by x and y of the keypoints; of oriented boxes x y w h.
    """
    with torch.no_grad():
        outputs = model(image)
    if model.facts.task == "classify":
        return [outputs.softmax(1).double().numpy()]
    strides, head = model.facts.strides, model.tower_head
    boxes, classes, further = (outputs[kind * len(strides) : (kind + 1) * len(strides)] for kind in range(3))
    if isinstance(head, ObbHead):
        oriented, scores = decode_oriented(boxes, classes, further, strides, logit=head.logit)
        return [value[0].double().numpy() for value in (oriented[..., :4], scores, oriented[..., 4:])]
    found = list(decode(boxes, classes, strides))
    if isinstance(head, PoseTowers):
        shape = (head.points, head.values)
        points = decode_keypoints(further, strides, shape, centred=head.centred)
        found = [torch.cat([found[0], points[..., :2].flatten(2)], 2), found[1], points[..., 2]]
    if model.mask_count:
        found += [rows_of(further), outputs[-1]]
    return [value[0].double().numpy() for value in found]


def published(arrays: Mapping[str, Any], head: HeadName, class_count: int, task: str) -> list[Array]:
    """The original code's answer in the same form; a one-to-one head's 300 best boxes with score and class."""
    if task == "classify":
        return [arrays["output0"].astype(np.float64)]
    if head == "one2one":
        rows = arrays["end2end0"][0].astype(np.float64)
        return [rows[:, :4], rows[:, 4], rows[:, 5]]
    rows = arrays["output0"][0].T.astype(np.float64)
    xy, wh, scores, rest = np.split(rows, (2, 4, 4 + class_count), axis=1)
    if task == "obb":
        return [rows[:, :4], scores, rest]
    found = [np.concatenate([xy - wh / 2, xy + wh / 2], 1), scores]
    if task == "pose":
        points = rest.reshape(len(rest), -1, 3)
        return [np.concatenate([found[0], points[..., :2].reshape(len(rest), -1)], 1), scores, points[..., 2]]
    return [*found, rest, arrays["output1"][0].astype(np.float64)] if task == "instances" else found


def worst(actual: list[Array], expected: list[Array]) -> Difference:
    """The largest differences; the first array is in pixels unless it is the only one."""
    boxes = float(np.abs(actual[0] - expected[0]).max()) if len(actual) > 1 else 0.0
    others = zip(actual[len(actual) > 1 :], expected[len(actual) > 1 :], strict=True)
    return Difference(boxes, max(float(np.abs(a - e).max() / np.abs(e).max()) for a, e in others))


def _same_pairs(
    single: list[Array], double: list[Array], expected: list[Array]
) -> tuple[list[Array], list[Array], list[Array]]:
    """The best pairs of box and class of all three, as far as they are of the same box.

    Boxes of nearly equal scores may change places. At least nine tenths must be the same.
    """
    scores = single[1]
    pairs = np.argsort(-scores.ravel(), kind="stable")[: len(expected[0])]
    row, label = np.divmod(pairs, scores.shape[1])
    best, exact = ([values[0][row], values[1][row, label]] for values in (single, double))
    assert (np.abs(best[1] - expected[1]) < 1e-3).all(), "the scores of the best pairs differ"
    kept = np.abs(best[0] - expected[0]).max(1) < 1
    assert kept.mean() > 0.9, "most of the best pairs are of other boxes"
    assert np.array_equal(label[kept], expected[2][kept].astype(int)), "the classes of the best pairs differ"
    best, exact, expected = ([value[kept] for value in values[:2]] for values in (best, exact, expected))
    return best, exact, expected
