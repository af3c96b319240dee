"""The record of a model's inputs and outputs, which accompanies it from checkpoint to camera."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field, replace
from typing import Literal

from edgevision.contract.inputs import BatchRange as BatchRange
from edgevision.contract.inputs import TensorInput
from edgevision.contract.inputs import TensorSpec as TensorSpec
from edgevision.errors import UsageError
from edgevision.storage.codec import (
    JSON_KEY,
    DecodeError,
    dataclass_from_json,
    json_from_dataclass,
    newer_schema,
)

SCHEMA = 3
"""Version of the record. A spec is written with the lowest version that can read it: models that take frames as 1,
those that make images as 2, graphs of a program as 3.
"""
FRAMES_SCHEMA = 1
FRAMES = "frames"
"""Name of the graph's input for frames."""
METADATA_KEY = "edgevision.contract.spec"

Task = Literal["classify", "detect", "segment", "instances", "pose", "obb", "translate", "generate", "part"]
"""`part` is one of the graphs of a program (`bundle.program`): any tensors in, any tensors out."""
TENSOR_TASKS: dict[Task, int] = {"generate": 2, "part": 3}
"""Tasks whose graphs take tensors instead of frames, with the version of their record."""
Fit = Literal["letterbox", "stretch", "center-crop", "exact"]
Layout = Literal["bgr", "nv12"]
Precision = Literal["float", "fp16", "int8", "fp8", "bf16", "tf32"]

COMPUTED: dict[Precision, Precision] = {"bf16": "float", "tf32": "float"}
"""Precisions without a graph of their own: an engine computes another graph in that type."""


def graph_name(precision: Precision) -> str:
    """How messages name a graph: "int8 graph", or "float graph in bf16"."""
    return f"{COMPUTED[precision]} graph in {precision}" if precision in COMPUTED else f"{precision} graph"


BOX_TASKS: tuple[Task, ...] = ("detect", "instances", "pose", "obb")
"""Tasks whose results are detections: their graphs return boxes, scores and labels, and contain NMS."""


LARGEST_PIXELS = 1 << 26
"""Maximum number of input pixels: 8192x8192. Such a frame takes 0.8 GB in float32."""
LARGEST_SIDE = 65_535
"""Maximum side of the input, in pixels; JPEG has the same."""


def problem_of_size(size_wh: tuple[int, int]) -> str | None:
    """The problem of an input size that no camera has; None for a valid size."""
    width, height = size_wh
    if max(width, height) > LARGEST_SIDE and width * height <= LARGEST_PIXELS:
        return f"frames are {width}x{height}; expected sides of at most {LARGEST_SIDE} pixels"
    if width * height <= LARGEST_PIXELS:
        return None
    return (
        f"frames of {width}x{height} have {width * height / 1e6:,.0f} million pixels; expected at most"
        f" {LARGEST_PIXELS / 1e6:,.0f} million"
    )


def checked_size(size_wh: tuple[int, int], layout: Layout) -> tuple[int, int]:
    """The size itself; raises `UsageError` if frames of this size cannot have the layout."""
    width, height = size_wh
    if layout == "nv12" and (width % 2 or height % 2):
        raise UsageError(
            f"frames of {width}x{height} cannot have the layout nv12, whose sides are even; choose an even size, or"
            " --layout bgr"
        )
    return size_wh


@dataclass(frozen=True, slots=True)
class FrameInput:
    """The graph's input ``frames``: uint8 ``[B,H,W,3]``, BGR as in OpenCV.

    With `layout` "nv12" it is uint8 ``[B, H * 3/2 + 1, W]``: the planes of video decoders, and a row with the frame's
    colour (`contract.nv12`). Both sides are even.

    `fit` defines how the host fits a camera frame to `size_wh`. "letterbox" keeps the aspect ratio and pads with
    `pad_value`; "stretch" does not keep it. "center-crop" scales the shorter side to ``size / crop_fraction`` and crops
    the centre. "exact" requires a frame of this size (the graph does the rest).
    """

    size_wh: tuple[int, int]
    fit: Fit = "letterbox"
    pad_value: int = 114
    crop_fraction: float = 1.0
    batch: BatchRange = field(default_factory=BatchRange)
    layout: Layout = "bgr"

    def __post_init__(self) -> None:
        if min(self.size_wh) < 1:
            raise ValueError(f"size_wh {self.size_wh} must be positive")
        problem = problem_of_size(self.size_wh)
        if problem is not None:
            raise ValueError(problem)
        if not 0 <= self.pad_value <= 255:
            raise ValueError(f"pad_value {self.pad_value} must be in 0..255")
        if not 0 < self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction {self.crop_fraction} must be in (0, 1]")
        width, height = self.size_wh
        if self.layout == "nv12" and (width % 2 or height % 2):
            raise ValueError(f"frames are {width}x{height}; the layout nv12 needs even sides")

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """The shape of one frame: ``(H, W, 3)``, or ``(H * 3/2 + 1, W)`` for "nv12"."""
        width, height = self.size_wh
        return (height * 3 // 2 + 1, width) if self.layout == "nv12" else (height, width, 3)

    @property
    def in_bgr(self) -> FrameInput:
        """The same input with the layout "bgr"."""
        return replace(self, layout="bgr")


@dataclass(frozen=True, slots=True)
class NmsSpec:
    """NMS inside a detection graph.

    The `candidates` box-class pairs with the highest scores enter; at most `max_detections` are returned. A pair is
    suppressed by a kept pair of the same class and a higher score if their IoU exceeds `iou_threshold`; pairs below
    `score_floor` get score 0. Oriented boxes are compared by ProbIoU instead (`contract.rotated`).

    Candidates are resolved in blocks of at most `block`, in the order of their scores, each by `depth` unrolled
    Cluster-NMS steps. Chains of up to `depth` suppressions inside a block are resolved as by greedy NMS. A longer chain
    may leave a duplicate; it never loses a box, because `depth` is even.
    """

    candidates: int = 400
    max_detections: int = 300
    iou_threshold: float = 0.45
    score_floor: float = 0.001
    depth: int = 16
    block: int = 400

    def __post_init__(self) -> None:
        if not 1 <= self.max_detections <= self.candidates:
            raise ValueError(
                f"1 <= max_detections ({self.max_detections}) <= candidates ({self.candidates}) must hold"
            )
        if self.candidates > 3840:
            raise ValueError(
                f"candidates {self.candidates} exceeds 3840, the most that TensorRT's TopK selects"
            )
        if not 0 < self.iou_threshold < 1:
            raise ValueError(f"iou_threshold {self.iou_threshold} must be in (0, 1)")
        if not 0 <= self.score_floor < 1:
            raise ValueError(f"score_floor {self.score_floor} must be in [0, 1)")
        if self.depth < 2 or self.depth % 2:
            raise ValueError(f"depth {self.depth} must be even and at least 2")
        if self.block < 1:
            raise ValueError(f"block {self.block} must be positive")


def default_nms(task: Task) -> NmsSpec:
    """Default NMS settings; instances return 100 detections, as in COCO's metrics, because each has a mask."""
    return NmsSpec(max_detections=100) if task == "instances" else NmsSpec()


@dataclass(frozen=True, slots=True)
class KeypointSpec:
    """The keypoints of a pose: a name for each, and the pairs of indices that a drawing joins."""

    names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("a pose has at least one keypoint; received no names")
        wrong = [pair for pair in self.skeleton if not all(0 <= end < len(self.names) for end in pair)]
        if wrong:
            raise ValueError(
                f"the skeleton joins {wrong[0]}; expected indices of {len(self.names)} keypoints"
            )

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, count: int) -> KeypointSpec:
        """COCO's names and skeleton for its 17 keypoints of a person; numbers without a skeleton for others."""
        if count == len(COCO_KEYPOINTS):
            return cls(COCO_KEYPOINTS, COCO_SKELETON)
        return cls(tuple(map(str, range(count))))


COCO_KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""Keypoints of the category "person" in COCO's annotations (https://cocodataset.org/#format-data), in their order."""
COCO_SKELETON = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
    *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
"""The skeleton of that category; COCO counts from 1."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Origin of a model: enough to reproduce it, or to ask its maker."""

    source: str
    """File name of the checkpoint or ONNX file, or "random weights, seed N"."""
    source_sha256: str | None
    recipe: str
    """Recipe and variant, or the head of an adopted graph."""
    created: str
    """UTC, ISO 8601."""
    versions: tuple[tuple[str, str], ...] = ()
    """(package, version) pairs that were used."""
    pixels: str = ""
    """Pixel format of an adopted network and its origin, such as "RGB, value / 255 (as chosen)"."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Name, task, inputs, outputs, classes and provenance of a model."""

    name: str
    task: Task
    input: FrameInput | TensorInput = field(metadata={JSON_KEY: "frames"})
    """A `TensorInput` only of `TENSOR_TASKS`."""
    outputs: tuple[TensorSpec, ...]
    classes: tuple[str, ...]
    provenance: Provenance
    nms: NmsSpec | None = None
    keypoints: KeypointSpec | None = None
    """Only of the task "pose"."""
    schema: int = FRAMES_SCHEMA

    def __post_init__(self) -> None:
        if (self.task in TENSOR_TASKS) != isinstance(self.input, TensorInput):
            raise ValueError(
                f"the tasks {', '.join(TENSOR_TASKS)} take tensors, others take frames; received task {self.task!r}"
            )
        object.__setattr__(self, "schema", TENSOR_TASKS.get(self.task, FRAMES_SCHEMA))
        if (self.task in BOX_TASKS) != (self.nms is not None):
            raise ValueError(f"nms is only for tasks {', '.join(BOX_TASKS)}; received task {self.task!r}")
        if (self.task == "pose") != (self.keypoints is not None):
            raise ValueError(f"keypoints are only for the task 'pose'; received task {self.task!r}")
        if self.task == "obb" and self.frames.fit == "stretch":
            raise ValueError(
                "fit 'stretch' shears oriented boxes; expected 'letterbox', 'center-crop' or 'exact'"
            )

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles of a model of task "translate" that has several; else empty."""
        return self.classes if self.task == "translate" else ()

    @property
    def frames(self) -> FrameInput:
        """How the model takes frames; raises `UsageError` for a model that takes none."""
        if isinstance(self.input, FrameInput):
            return self.input
        if self.input.of_kind("mask") is not None:
            raise UsageError(
                f"{self.name} fills a region of an image and takes no frames; run: edgevision edit BUNDLE IMAGE --mask"
                " MASK -o FILE.png"
            )
        what = "is one graph of several" if self.task == "part" else "makes images from noise"
        raise UsageError(f"{self.name} {what} and takes no frames; run: edgevision generate BUNDLE -o DIR")

    @property
    def tensors(self) -> TensorInput:
        """The inputs of a model that takes no frames; raises `UsageError` for a model that takes frames."""
        if isinstance(self.input, TensorInput):
            return self.input
        raise UsageError(
            f"{self.name} is a model of task {self.task}, which takes frames; run: edgevision run"
        )

    @property
    def batch(self) -> BatchRange:
        """The batch sizes that the graph accepts."""
        return self.input.batch

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The graph's inputs in order."""
        if isinstance(self.input, TensorInput):
            return self.input.specs
        return (TensorSpec(FRAMES, "uint8", (-1, *self.input.frame_shape)),)

    def with_batch(self, batch: BatchRange) -> ModelSpec:
        """The spec of the same model with other batch sizes."""
        return replace(self, input=replace(self.input, batch=batch))

    def to_json(self) -> str:
        """One line of JSON, as stored in the graph's metadata under `METADATA_KEY`."""
        return json.dumps(json_from_dataclass(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Parse the output of `to_json`; raises `DecodeError` with the path of a mistake."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise DecodeError(f"$: not JSON: {error}") from error
        newer = newer_schema(data, SCHEMA)
        if newer is not None:
            raise DecodeError(f"$.schema: {newer}")
        return dataclass_from_json(cls, data)


def detect_outputs(max_detections: int) -> tuple[TensorSpec, ...]:
    """The outputs of a detection graph: ``boxes`` xyxy in input pixels, ``scores`` sorted, ``labels``."""
    return (
        TensorSpec("boxes", "float32", (-1, max_detections, 4)),
        TensorSpec("scores", "float32", (-1, max_detections)),
        TensorSpec("labels", "int32", (-1, max_detections)),
    )


def classify_outputs(class_count: int) -> tuple[TensorSpec, ...]:
    """The output of a classification graph: ``scores``, one per class, summing to 1."""
    return (TensorSpec("scores", "float32", (-1, class_count)),)


def segment_outputs(size_wh: tuple[int, int]) -> tuple[TensorSpec, ...]:
    """The output of a semantic segmentation graph: ``mask``, the best class of each input pixel."""
    return (TensorSpec("mask", "uint8", (-1, size_wh[1], size_wh[0])),)


def instances_outputs(max_detections: int, mask_wh: tuple[int, int]) -> tuple[TensorSpec, ...]:
    """The outputs of an instance segmentation graph: a detection graph's, and ``masks``.

    ``masks`` cover the whole input with `mask_wh` cells: round(255 * probability) in the cells that the detection's box
    touches, 0 in all others. A mask is where the interpolated probability is at least one half.
    """
    masks = TensorSpec("masks", "uint8", (-1, max_detections, mask_wh[1], mask_wh[0]))
    return (*detect_outputs(max_detections), masks)


def pose_outputs(max_detections: int, keypoint_count: int) -> tuple[TensorSpec, ...]:
    """The outputs of a pose graph: a detection graph's, and ``keypoints``.

    A keypoint is x and y in input pixels, and a confidence in 0..1 (1 if the network has none). A keypoint may lie
    outside of its box and of the frame.
    """
    keypoints = TensorSpec("keypoints", "float32", (-1, max_detections, keypoint_count, 3))
    return (*detect_outputs(max_detections), keypoints)


def obb_outputs(max_detections: int) -> tuple[TensorSpec, ...]:
    """The outputs of a graph for oriented boxes: a detection graph's with other ``boxes``.

    A box is x and y of its centre, width and height in input pixels, and the angle of its width in radians, clockwise
    in the image. It may exceed the frame.
    """
    return (TensorSpec("boxes", "float32", (-1, max_detections, 5)), *detect_outputs(max_detections)[1:])


def translate_outputs(image_wh: tuple[int, int]) -> tuple[TensorSpec, ...]:
    """The output of a graph that makes images: ``image``, BGR, of any size."""
    return (TensorSpec("image", "uint8", (-1, image_wh[1], image_wh[0], 3)),)


def utc_now() -> str:
    """The time in ISO 8601, UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
