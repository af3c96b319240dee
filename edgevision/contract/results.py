"""Results: frozen arrays of stated shape, sliceable, with an empty value instead of None."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.contract.classes import class_name
from edgevision.contract.rotated import corners_from_oriented, hulls_from_oriented
from edgevision.contract.spec import KeypointSpec, ModelSpec
from edgevision.contract.thresholds import ClassThresholds, Threshold
from edgevision.contract.transform import FrameTransform
from edgevision.errors import MissingExtraError

if TYPE_CHECKING:
    import supervision as sv

Float32 = npt.NDArray[np.float32]
Rows = slice | Sequence[int] | npt.NDArray[np.bool_] | npt.NDArray[np.integer]
Index = int | Rows
MASK_HALF = 128
"""The smallest stored probability, of 0..255, that is inside a mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Boxes of one frame, highest score first.

    `boxes` float32 ``[N,4]`` xyxy in frame pixels, `scores` float32 ``[N]`` in 0..1, `labels` int32 ``[N]``, indices
    into `classes`.
    """

    boxes: Float32
    scores: Float32
    labels: npt.NDArray[np.int32]
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.boxes)
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,) or self.labels.shape != (count,):
            raise ValueError(
                f"expected boxes [N,4], scores [N], labels [N]; received {self.boxes.shape}, {self.scores.shape},"
                f" {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Index) -> Detections:
        """A part; an integer gives a part of one box."""
        index = _rows(index)
        return Detections(self.boxes[index], self.scores[index], self.labels[index], self.classes)

    def __iter__(self) -> Iterator[Detections]:
        """A part of one box for each."""
        return (self[row] for row in range(len(self)))

    def to_supervision(self, ids: npt.NDArray[np.int64] | None = None) -> sv.Detections:
        """The detections as `supervision.Detections`, for its annotators, slicers and metrics; `ids` become its
        `tracker_id`.

        Raises `MissingExtraError` without the library.
        """
        _require_supervision("Detections.to_supervision()")
        # It loads SciPy and Pillow, so it is imported only if needed.
        from edgevision.contract.supervision import supervision_from_detections

        return supervision_from_detections(self, ids)

    @classmethod
    def empty(cls, classes: tuple[str, ...] = ()) -> Detections:
        """No boxes."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32), classes)

    def class_name(self, label: int) -> str:
        """The name of a label, or its number if it has no name."""
        return class_name(self.classes, label)


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The pixels of one object: `pixels` bool ``[h,w]``, the part of the frame that begins at `left`, `top`."""

    left: int
    top: int
    pixels: npt.NDArray[np.bool_]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.pixels))

    def polygons(self) -> tuple[npt.NDArray[np.int32], ...]:
        """Outlines of its parts in frame pixels, each int32 ``[N,2]``; holes are ignored."""
        contours, _ = cv2.findContours(
            self.pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        return tuple(np.asarray(c[:, 0] + (self.left, self.top), np.int32) for c in contours)

    def of_frame(self, frame_wh: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """The mask as bool ``[H,W]`` of a whole frame."""
        whole = np.zeros((frame_wh[1], frame_wh[0]), np.bool_)
        height, width = self.pixels.shape
        whole[self.top : self.top + height, self.left : self.left + width] = self.pixels
        return whole


@dataclass(frozen=True, slots=True, eq=False)
class Instances(Detections):
    """Detections with one mask each; usable wherever detections are."""

    masks: tuple[Mask, ...] = ()

    def __post_init__(self) -> None:
        Detections.__post_init__(self)
        if len(self.masks) != len(self.boxes):
            raise ValueError(
                f"expected a mask for each box; received {len(self.masks)} for {len(self.boxes)}"
            )

    def __getitem__(self, index: Index) -> Instances:
        index = _rows(index)
        masks = tuple(self.masks[row] for row in np.arange(len(self))[index])
        return Instances(self.boxes[index], self.scores[index], self.labels[index], self.classes, masks)


@dataclass(frozen=True, slots=True, eq=False)
class Poses(Detections):
    """Detections with keypoints; usable wherever detections are.

    `keypoints` float32 ``[N,K,3]``: x and y in frame pixels and a confidence in 0..1. Points may lie outside of the
    frame. `layout` names them.
    """

    keypoints: Float32 = field(default_factory=lambda: np.empty((0, 1, 3), np.float32))
    layout: KeypointSpec | None = None

    def __post_init__(self) -> None:
        Detections.__post_init__(self)
        shape = self.keypoints.shape
        points = shape[1] if self.layout is None and len(shape) == 3 else len(self.layout or ())
        if shape != (len(self.boxes), points, 3):
            raise ValueError(
                f"expected keypoints [{len(self.boxes)},{points},3], x y confidence; received {shape}"
            )

    def __getitem__(self, index: Index) -> Poses:
        index = _rows(index)
        values = (self.boxes[index], self.scores[index], self.labels[index], self.classes)
        return Poses(*values, self.keypoints[index], self.layout)

    @property
    def skeleton(self) -> tuple[tuple[int, int], ...]:
        """Pairs of indices of keypoints that a drawing joins; empty if unknown."""
        return () if self.layout is None else self.layout.skeleton

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """The name of each keypoint, or its number."""
        layout = self.layout or KeypointSpec.of(self.keypoints.shape[1])
        return layout.names

    def to_supervision(  # type: ignore[override]  # supervision's type for poses is no kind of its detections
        self, ids: npt.NDArray[np.int64] | None = None
    ) -> sv.KeyPoints:
        """The poses as `supervision.KeyPoints`, for its annotators; `ids` become `tracker_id` in its data.

        Raises `MissingExtraError` without the library.
        """
        _require_supervision("Poses.to_supervision()")
        from edgevision.contract.supervision import supervision_from_poses

        return supervision_from_poses(self, ids)


@dataclass(frozen=True, slots=True, eq=False)
class OrientedBoxes(Detections):
    """Oriented boxes; usable wherever detections are: `boxes` are their upright hulls, clipped to the frame.

    `oriented` float32 ``[N,5]``: x and y of the centre, width and height in frame pixels, and the angle of the width
    in radians, clockwise in the image. They may exceed the frame.
    """

    oriented: Float32 = field(default_factory=lambda: np.empty((0, 5), np.float32))

    def __post_init__(self) -> None:
        Detections.__post_init__(self)
        if self.oriented.shape != (len(self.boxes), 5):
            raise ValueError(
                f"expected oriented boxes [{len(self.boxes)},5], x y w h angle; received {self.oriented.shape}"
            )

    def __getitem__(self, index: Index) -> OrientedBoxes:
        index = _rows(index)
        values = (self.boxes[index], self.scores[index], self.labels[index], self.classes)
        return OrientedBoxes(*values, self.oriented[index])

    @property
    def corners(self) -> Float32:
        """Corners float32 ``[N,4,2]`` in frame pixels, in order around each box."""
        return corners_from_oriented(self.oriented).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """Scores of one frame: float32 ``[C]``, summing to 1."""

    scores: Float32
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def top(self, k: int = 5) -> tuple[tuple[int, float], ...]:
        """The `k` best (label, score) pairs, best first."""
        best = np.argsort(-self.scores, kind="stable")[:k]
        return tuple((int(label), float(self.scores[label])) for label in best)

    def class_name(self, label: int) -> str:
        """The name of a label, or its number if it has no name."""
        return class_name(self.classes, label)


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """The class of each pixel of one frame: `mask` uint8 ``[H,W]``, indices into `classes`."""

    mask: npt.NDArray[np.uint8]
    classes: tuple[str, ...] = ()

    def shares(self) -> tuple[tuple[int, float], ...]:
        """(label, share of the frame) of the classes in the frame, the largest first."""
        counts = np.bincount(self.mask.ravel())
        order = np.argsort(-counts, kind="stable")
        return tuple((int(label), float(counts[label] / self.mask.size)) for label in order if counts[label])

    def class_name(self, label: int) -> str:
        """The name of a label, or its number if it has no name."""
        return class_name(self.classes, label)


@dataclass(frozen=True, slots=True, eq=False)
class Translation:
    """The image that a network made from one frame: `image` uint8 ``[h,w,3]`` BGR, the whole frame at any size."""

    image: npt.NDArray[np.uint8]
    classes: tuple[str, ...] = ()
    """Always empty."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the image."""
        return self.image.shape[1], self.image.shape[0]


Result = Detections | Classification | Segmentation | Translation
"""`Instances`, `Poses` and `OrientedBoxes` are `Detections`."""
Outputs = tuple[npt.NDArray[Any], ...]
"""What a session returns: one array for each of the spec's outputs, in their order, batch first."""


def owned_outputs(spec: ModelSpec, outputs: Outputs) -> Outputs:
    """Copies of outputs in memory that an engine writes again.

    Most of the masks of `instances` belong to unused rows: those are 0 in the copy, and are not read.
    """
    if spec.task != "instances":
        return tuple(np.array(array) for array in outputs)
    boxes, scores, labels, masks = outputs
    used = scores > 0
    kept = np.zeros_like(masks)
    kept[used] = masks[used]
    return np.array(boxes), np.array(scores), np.array(labels), kept


def results_from_outputs(
    spec: ModelSpec, outputs: Outputs, placements: Sequence[FrameTransform], *, threshold: Threshold
) -> list[Result]:
    """Apply the threshold to a batch's outputs and map boxes and masks to frame pixels; one result for each placement.

    The batch may be longer than `placements` (a padded last batch); further rows are dropped. A score equal to
    `threshold` is kept; a score of 0 (suppressed) never is. Boxes are clipped to the frame.
    """
    if spec.task == "classify":
        return [
            Classification(scores, spec.classes)
            for scores in outputs[0][: len(placements)].astype(np.float32)
        ]
    if spec.task == "segment":
        pairs = zip(placements, outputs[0], strict=False)
        return [Segmentation(place.frame_from_input_mask(mask), spec.classes) for place, mask in pairs]
    if spec.task == "translate":
        pairs = zip(placements, outputs[0], strict=False)
        return [Translation(place.frame_part(image, spec.frames.size_wh)) for place, image in pairs]
    rows = (tuple(array[row] for array in outputs) for row in range(len(placements)))
    return [_detections(spec, row, place, threshold) for row, place in zip(rows, placements, strict=True)]


def _detections(spec: ModelSpec, row: Outputs, placement: FrameTransform, threshold: Threshold) -> Detections:
    """The detections of one frame, from its outputs without the batch."""
    keep = reached(threshold, row[1], row[2]) & (row[1] > 0)
    boxes, scores, labels, *further = (array[keep] for array in row)
    scores, labels = scores.astype(np.float32), labels.astype(np.int32)
    if spec.task == "obb":
        oriented = placement.frame_from_input_oriented(boxes)
        hulls = np.clip(hulls_from_oriented(oriented), 0, placement.frame_wh * 2).astype(np.float32)
        return OrientedBoxes(hulls, scores, labels, spec.classes, oriented)
    found = Detections(placement.frame_from_input(boxes), scores, labels, spec.classes)
    if spec.task == "instances":
        return _instances(found, further[0], placement, spec.frames.size_wh)
    if spec.task == "pose":
        points = further[0].astype(np.float32)
        points[:, :, :2] = placement.frame_from_input_points(points[:, :, :2])
        return Poses(found.boxes, scores, labels, spec.classes, points, spec.keypoints)
    return found


def reached(
    threshold: Threshold, scores: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> npt.NDArray[np.bool_]:
    """True for each detection with at least the minimum confidence of its class, bool ``[N]``.

    Labels outside of the classes have the nearest one's: graphs return any label beside a suppressed score.
    """
    if isinstance(threshold, ClassThresholds):
        return np.asarray(scores >= threshold.array.take(labels, mode="clip"))
    return np.asarray(scores >= threshold)


def _instances(
    found: Detections, masks: npt.NDArray[np.uint8], placement: FrameTransform, input_wh: tuple[int, int]
) -> Instances:
    """Interpolate each mask at the frame's pixels inside its box, and threshold it at one half."""
    cells = np.array([masks.shape[2] / input_wh[0], masks.shape[1] / input_wh[1]])
    scale = np.asarray(placement.scale_xy) * cells
    offset = np.asarray(placement.offset_xy) * cells
    cut = []
    for box, mask in zip(found.boxes, masks, strict=True):
        left, top = (int(value) for value in np.floor(box[:2]))
        right, bottom = (int(value) for value in np.ceil(box[2:]))
        size_wh = (max(right - left, 1), max(bottom - top, 1))
        # Pixel centres of the frame to cell centres of the mask.
        start = (np.array([left, top]) + 0.5) * scale + offset - 0.5
        matrix = np.array([[scale[0], 0, start[0]], [0, scale[1], start[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        fine = cv2.warpAffine(mask, matrix, size_wh, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        cut.append(Mask(left, top, np.asarray(fine >= MASK_HALF)))
    return Instances(found.boxes, found.scores, found.labels, found.classes, tuple(cut))


def _require_supervision(caller: str) -> None:
    if importlib.util.find_spec("supervision") is None:
        raise MissingExtraError("supervision", "track", caller)


def _rows(index: Index) -> Rows:
    return [int(index)] if isinstance(index, (int, np.integer)) else index
