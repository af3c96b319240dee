"""Compares two models' answers to the same frames against tolerances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgevision.bundle.candidates import Sensitivity
from edgevision.bundle.folder import CheckRecord
from edgevision.contract.boxes import iou_matrix
from edgevision.contract.results import MASK_HALF, Outputs
from edgevision.contract.rotated import corners_from_oriented, rotated_iou_matrix
from edgevision.contract.spec import ModelSpec, Precision, Task
from edgevision.verification.pairs import FULL_SCORE, Slack

_WIDE_PX = 20.0
"""Boxes of a model with noise: sides below this count as if they had this length."""
COMPARED = "detections compared"
SMALL_MASK_CELLS = 100
"""Smaller masks count as if they had this many cells: of ten cells, one is a tenth and still rounding."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Allowed differences from the source model's answers."""

    min_score: float
    """Detections below this score are not compared."""
    box_iou: float
    box_px: float
    """Boxes that differ by no more than this in any coordinate are equal: below one pixel an IoU is not meaningful."""
    score: float
    pixels: float
    """Share of a frame's pixels whose class may differ."""
    mask: float
    """Share of mask cells of a pair that may lie in only one of the two masks."""
    missing: float = 0.0
    """Share of detections that may lack a partner. 0: the worst pair counts, else the mean of all."""
    class_score: float = 1e-3
    """Allowed difference of a class score of a whole frame."""
    keypoint: float = 1e-3
    """Allowed distance of partners' keypoints, as a share of the box's diagonal; up to `box_px` they are equal."""
    all_scores: bool = False
    """Compare candidates and detections of every score."""
    box_share: float = 1.0
    """Of boxes that are paired with candidates: allowed difference of an edge, relative to the box's side; `box_px` is
    allowed to small boxes."""
    iou: float = 1.0
    """Allowed difference of the IoU of two boxes of one side: so near to the threshold NMS may decide either way."""
    full_score: float = FULL_SCORE
    """Of candidates: below this score a difference counts in proportion to the score."""
    suppressed: float = 1.0
    """Limits of candidates before NMS, relative to those of detections: NMS keeps the ones of the best scores."""
    raw: float = 1e-3
    """Allowed difference of a network's raw output, relative to its largest value."""
    raw_mean: float = 1e-4
    """The same on average."""
    level: float = 1.0
    """Largest difference of a value of an image, in levels of 255."""
    level_mean: float = 0.01
    """The same on average."""
    mask_step: int = 0
    """Difference of two stored mask values, of 255, that counts as none where they lie on both sides of one half."""

    @property
    def slack(self) -> Slack:
        """The differences of candidates that count as none."""
        side = self.box_px / self.box_share
        return Slack(self.score, self.box_share, side, self.iou, self.full_score)

    def widened(self, noise: Sensitivity | None) -> Tolerance:
        """Limits for a source model that rounds at run time: at least twice its own change by one rounding step."""
        if noise is None:
            return self
        score, box = max(self.score, 2 * noise.score), max(self.box_share, 2 * noise.box)
        return replace(
            self,
            score=score,
            box_share=box,
            box_px=max(self.box_px, min(box, 1.0) * _WIDE_PX),
            iou=max(self.iou, 4 * box),
            class_score=max(self.class_score, 2 * noise.score),
            raw=max(self.raw, 2 * noise.raw),
        )


_EIGHT_BITS = Tolerance(
    min_score=0.25,
    box_iou=0.5,
    box_px=1.0,
    score=0.12,
    pixels=0.1,
    mask=0.25,
    missing=0.15,
    class_score=0.3,
    keypoint=0.1,
    raw=1.0,
    raw_mean=0.1,
    level=255.0,
    level_mean=4.0,
)

# Eleven bits of mantissa instead of 24. YOLOv5n on 28 photographs of COCO with every value rounded: scores to
# 0.004, IoU of pairs from 0.994. The limits are a few times that, and more for pixels, which fall on one side or
# the other.
_ELEVEN_BITS = Tolerance(
    min_score=0.25,
    box_iou=0.95,
    box_px=1.0,
    score=0.02,
    pixels=0.01,
    mask=0.1,
    class_score=0.02,
    box_share=0.02,
    iou=0.1,
    full_score=0.1,
    # YOLOX-Nano on four photographs: scores of candidates to 0.034, of detections to 0.006.
    suppressed=3.0,
    keypoint=0.02,
    raw=0.02,
    raw_mean=0.002,
    level=8.0,
    level_mean=0.5,
)

TOLERANCES: dict[Precision, Tolerance] = {
    # Two float32 implementations of one network differ only by rounding: 1e-5 in scores, 1e-3 px in boxes. Where two
    # classes are nearly equal, or a mask crosses one half, single pixels may fall on either side.
    "float": Tolerance(
        min_score=0.05,
        box_iou=0.999,
        box_px=0.01,
        score=1e-3,
        pixels=1e-3,
        mask=0.02,
        all_scores=True,
        box_share=5e-4,
        iou=2e-3,
        mask_step=2,
    ),
    "fp16": _ELEVEN_BITS,
    # The factors of products have eleven bits; sums and all values between layers have float32's.
    "tf32": _ELEVEN_BITS,
    # Eight bits of mantissa, to which the network's values are rounded; post-processing stays in float32. OpenVINO
    # 2026.4 on AVX512-BF16, 24 photographs of COCO and 20 frames of CamVid: YOLOv5n's scores to 0.022 and IoU of pairs
    # from 0.991, `street` 0.010 and 0.992, `unet` 2.7 % of a frame's pixels. AP of YOLOv5n on 220 images: 30.6 (30.5 in
    # float32); mIoU of `unet` on CamVid: 65.2 (65.1).
    "bf16": Tolerance(
        min_score=0.25,
        box_iou=0.9,
        box_px=1.0,
        score=0.05,
        pixels=0.04,
        mask=0.15,
        class_score=0.05,
        box_share=0.05,
        iou=0.2,
        full_score=0.1,
        suppressed=3.0,
        keypoint=0.04,
        raw=0.16,
        raw_mean=0.016,
        level=48.0,
        level_mean=2.0,
    ),
    # Eight bits. On the same photographs every detection over 0.25 was found again at IoU 0.5. Scores were off by 0.03
    # to 0.05 on average, and by 0.09 on average of the worst four frames. The layers' own errors show where accuracy is
    # lost.
    "int8": _EIGHT_BITS,
    "fp8": _EIGHT_BITS,
}


def compare_answers(
    spec: ModelSpec, expected: Outputs, actual: Outputs, precision: Precision
) -> list[CheckRecord]:
    """Compare two models' answers to the same frames."""
    return _COMPARISONS[spec.task](expected, actual, TOLERANCES[precision])


def max_difference(left: Outputs, right: Outputs) -> float:
    """The largest absolute difference between two answers; NaN where only one side is not finite."""
    worst = 0.0
    for a, b in zip(left, right, strict=True):
        if not np.array_equal(a, b, equal_nan=True):
            worst = max(worst, float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()))
    return worst


def wrong_share(expected: npt.NDArray[np.uint8], actual: npt.NDArray[np.uint8]) -> float:
    """The largest share of a frame's pixels whose class differs, for masks ``[B,H,W]``."""
    return float((expected != actual).mean(axis=(1, 2)).max())


def compare_scores(expected: Outputs, actual: Outputs, tolerance: Tolerance) -> list[CheckRecord]:
    """Best classes must agree, unless the two best are so close that the score tolerance may swap them."""
    two = np.sort(expected[0], axis=1)[:, -2:]
    clear = two[:, -1] - two[:, 0] > 2 * tolerance.class_score
    same = expected[0].argmax(axis=1) == actual[0].argmax(axis=1)
    return [
        CheckRecord(
            "score difference", max_difference(expected, actual), "<=", tolerance.class_score, "scores"
        ),
        CheckRecord(
            "share of frames with the same best class", float(np.mean(same | ~clear)), ">=", 1.0, "scores"
        ),
    ]


def _compare_pixels(expected: Outputs, actual: Outputs, tolerance: Tolerance) -> list[CheckRecord]:
    wrong = wrong_share(expected[0], actual[0])
    return [CheckRecord("share of pixels of another class", wrong, "<=", tolerance.pixels, "mask")]


def _compare_images(expected: Outputs, actual: Outputs, tolerance: Tolerance) -> list[CheckRecord]:
    difference = np.abs(expected[0].astype(np.int16) - actual[0])
    mean = float(difference.mean(axis=(1, 2, 3)).max())
    return [
        CheckRecord(
            "largest difference of an image's values", float(difference.max()), "<=", tolerance.level, "image"
        ),
        CheckRecord("mean difference of an image's values", mean, "<=", tolerance.level_mean, "image"),
    ]


def _compare_values(expected: Outputs, actual: Outputs, tolerance: Tolerance) -> list[CheckRecord]:
    """Floats relative to the largest value of each output; images, which are uint8, in levels."""
    checks = []
    for place, (wanted, found) in enumerate(zip(expected, actual, strict=True), 1):
        if wanted.dtype == np.uint8:
            checks += _compare_images((wanted,), (found,), tolerance)
            continue
        largest = float(np.abs(wanted).max(initial=1e-12))
        difference = np.abs(wanted.astype(np.float64) - found) / largest
        for name, measured, limit in (
            ("largest", float(difference.max(initial=0)), tolerance.raw),
            ("mean", float(difference.mean()) if difference.size else 0.0, tolerance.raw_mean),
        ):
            checks.append(CheckRecord(f"{name} relative difference of output {place}", measured, "<=", limit))
    return checks


@dataclass(frozen=True, slots=True, eq=False)
class _Partners:
    """One frame's detections, each with the most overlapping one of the same class on the other side."""

    row: int
    one: npt.NDArray[np.intp]
    other: npt.NDArray[np.intp]
    ious: npt.NDArray[np.float32]
    score_differences: npt.NDArray[np.float32]


def _partners(expected: Outputs, actual: Outputs, tolerance: Tolerance) -> Iterator[_Partners]:
    """Every frame in both directions: detections of each side must exist on the other.

    A detection without a partner counts, unless its score is so close to the minimum that the other side's may be just
    below it.
    """
    highest = float(expected[1].max(initial=0.0))
    for row in range(len(expected[0])):
        sides = [tuple(array[row] for array in side[:3]) for side in (expected, actual)]
        for (boxes, scores, labels), (other_boxes, other_scores, other_labels) in (sides, sides[::-1]):
            # A full list ends at its lowest score: detections up to that score may have been cut off on the other side.
            floor = max(min(tolerance.min_score, highest / 2), float(other_scores.min()))
            # With a tolerance for missing ones, detections near the minimum need no special case.
            least = floor if tolerance.missing else floor + tolerance.score
            wanted = np.flatnonzero((scores >= least) & (scores > 0))
            overlap = _overlap(boxes[wanted], other_boxes, tolerance.box_px)
            overlap *= (labels[wanted][:, None] == other_labels) & (other_scores > 0)
            best = overlap.argmax(axis=1)
            ious = overlap[np.arange(len(best)), best]
            yield _Partners(row, wanted, best, ious, np.abs(scores[wanted] - other_scores[best]))


def _overlap(
    boxes: npt.NDArray[np.float32], others: npt.NDArray[np.float32], equal_px: float
) -> npt.NDArray[np.float64]:
    """IoU ``[N,M]`` of xyxy or oriented boxes; 1 for those whose corners differ by `equal_px` at most."""
    if boxes.shape[1] == 4:
        overlap = iou_matrix(boxes, others)
        distance = np.abs(boxes[:, None] - others).max(axis=2)
    else:
        overlap = rotated_iou_matrix(boxes, others)
        one, other = corners_from_oriented(boxes)[:, None], corners_from_oriented(others)
        # A box that is turned by a quarter and has its sides exchanged is the same box.
        turned = (np.roll(other, shift, axis=1) for shift in range(4))
        distance = np.min([np.abs(one - corners).max(axis=(2, 3)) for corners in turned], axis=0)
    overlap[distance <= equal_px] = 1.0
    return overlap


def _compare_detections(expected: Outputs, actual: Outputs, tolerance: Tolerance) -> list[CheckRecord]:
    """Pair each detection with the most overlapping one of its class on the other side, in both directions."""
    found = list(_partners(expected, actual, tolerance))
    ious = np.concatenate([partners.ious for partners in found])
    matched = ious >= tolerance.box_iou
    differences = np.concatenate([partners.score_differences for partners in found])[matched]
    unmatched = int(np.count_nonzero(~matched))
    checks = [CheckRecord(COMPARED, float(len(ious)), ">=", 1.0)]
    if tolerance.missing:
        share, mean = unmatched / max(len(ious), 1), float(differences.mean()) if len(differences) else 0.0
        return [
            *checks,
            CheckRecord("share of detections without a partner", share, "<=", tolerance.missing),
            CheckRecord("mean score difference of partners", mean, "<=", tolerance.score),
        ]
    return [
        *checks,
        CheckRecord("detections without a partner", float(unmatched), "<=", 0.0),
        CheckRecord(
            "smallest IoU of partners", float(ious[matched].min(initial=1.0)), ">=", tolerance.box_iou
        ),
        CheckRecord(
            "score difference of partners", float(differences.max(initial=0.0)), "<=", tolerance.score
        ),
    ]


def _compare_instances(expected: Outputs, actual: Outputs, tolerance: Tolerance) -> list[CheckRecord]:
    """Compare detections, and for pairs the share of mask cells in only one of the two masks."""
    checks = _compare_detections(expected, actual, tolerance)
    shares = []
    for found in list(_partners(expected, actual, tolerance))[::2]:
        matched = found.ious >= tolerance.box_iou
        ours = expected[3][found.row][found.one[matched]] >= MASK_HALF
        theirs = actual[3][found.row][found.other[matched]] >= MASK_HALF
        joint = np.count_nonzero(ours | theirs, axis=(1, 2)).clip(min=SMALL_MASK_CELLS)
        shares.append(np.count_nonzero(ours ^ theirs, axis=(1, 2)) / joint)
    every = np.concatenate(shares)
    mean = float(every.mean()) if len(every) else 0.0
    differing = mean if tolerance.missing else float(every.max(initial=0.0))
    return [
        *checks,
        CheckRecord("share of partners' mask cells in just one", differing, "<=", tolerance.mask),
    ]


def _compare_poses(expected: Outputs, actual: Outputs, tolerance: Tolerance) -> list[CheckRecord]:
    """Compare detections, and for pairs the places and confidences of their keypoints."""
    checks = _compare_detections(expected, actual, tolerance)
    shares, differences = [np.zeros(0)], [np.zeros(0)]
    for found in list(_partners(expected, actual, tolerance))[::2]:
        matched = found.ious >= tolerance.box_iou
        ours = expected[3][found.row][found.one[matched]].astype(np.float64)
        theirs = actual[3][found.row][found.other[matched]]
        boxes = expected[0][found.row][found.one[matched]]
        diagonal = np.hypot(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]).clip(min=1)
        distance = np.hypot(*np.moveaxis(ours[:, :, :2] - theirs[:, :, :2], 2, 0))
        distance[distance <= tolerance.box_px] = 0.0
        shares.append((distance / diagonal[:, None]).ravel())
        differences.append(np.abs(ours[:, :, 2] - theirs[:, :, 2]).ravel())
    share, difference = np.concatenate(shares), np.concatenate(differences)
    which, of = ("mean", _mean) if tolerance.missing else ("largest", _largest)
    return [
        *checks,
        CheckRecord(
            f"{which} distance of partners' keypoints, share of the diagonal",
            of(share),
            "<=",
            tolerance.keypoint,
        ),
        CheckRecord(
            f"{which} confidence difference of partners' keypoints", of(difference), "<=", tolerance.score
        ),
    ]


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _largest(values: npt.NDArray[np.float64]) -> float:
    return float(values.max(initial=0.0))


_COMPARISONS: Mapping[Task, Callable[[Outputs, Outputs, Tolerance], list[CheckRecord]]] = {
    "classify": compare_scores,
    "detect": _compare_detections,
    "segment": _compare_pixels,
    "instances": _compare_instances,
    "pose": _compare_poses,
    "obb": _compare_detections,
    "translate": _compare_images,
    "generate": _compare_images,
    "part": _compare_values,
}
