"""Adopts a third-party ONNX model: adds the graph contract to it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

import onnx

import edgevision
from edgevision.contract.spec import (
    BatchRange,
    Fit,
    FrameInput,
    KeypointSpec,
    ModelSpec,
    NmsSpec,
    Provenance,
    Task,
    TensorSpec,
    classify_outputs,
    detect_outputs,
    obb_outputs,
    pose_outputs,
    utc_now,
)
from edgevision.errors import GraphError
from edgevision.graph.coco import COCO_CLASSES
from edgevision.graph.contract import attach_metadata, check_contract
from edgevision.graph.conventions import (
    DETECTORS,
    HEADS,
    IMAGENET_CROP,
    IMAGENET_PIXELS,
    known_heads,
)
from edgevision.graph.first_run import TIMEOUT_S
from edgevision.graph.foreign.network import ForeignNetwork, read_foreign
from edgevision.graph.foreign.recognition import Recognition, recognise
from edgevision.graph.graft import graft_classifier, graft_detector
from edgevision.graph.heads.head import DetectionHead, PoseHead
from edgevision.graph.preprocess import PixelFormat
from edgevision.storage.sha256 import sha256_of_file


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """The user's choices; None leaves a choice to the file and to its head's convention."""

    classes: tuple[str, ...] | None = None
    pixels: PixelFormat | None = None
    fit: Fit | None = None
    size_wh: tuple[int, int] | None = None
    """The network's input size; required if the file leaves it open."""
    frame_wh: tuple[int, int] | None = None
    """Camera size, if the graph should scale frames."""
    keypoint_shape: tuple[int, int] | None = None
    """Number of keypoints and of values of each, 2 or 3; required if shapes and metadata leave it open."""
    batch: BatchRange | None = None
    nms: NmsSpec = NmsSpec()
    timeout_s: float = TIMEOUT_S
    """Time limit for the first inference of a file with loops."""
    tensorrt: tuple[str, ...] = ()
    """TensorRT versions, as `graph.limits` names them, that must be able to read the graph."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """A graph of the contract with the decisions behind it, for a comparison with the original file."""

    model: onnx.ModelProto
    spec: ModelSpec
    network_size_wh: tuple[int, int]
    pixels: PixelFormat
    fit: Fit
    """The fit of a frame to `network_size_wh`, by the host or in the graph."""
    head: DetectionHead | None
    """None for a classifier."""
    recognition: str
    """The head and why, such as "head yolov8: one output [1, 84, 8400], 80 classes"."""


def adopt(path: Path, head: str | None = None, options: AdoptOptions | None = None) -> Adoption:
    """Add the contract to an ONNX file; `head` is one of `conventions.HEADS`, None to recognise it.

    Raises `GraphError` if the file cannot be read, if its outputs do not match that head, or if not exactly one head
    is recognised. The message then lists the outputs and the heads.
    """
    options = options or AdoptOptions()
    if head is not None and head not in HEADS:
        raise GraphError(f"unknown head {head!r}. Heads with their expected outputs:\n{known_heads()}")
    source = read_foreign(
        path,
        size_wh=options.size_wh,
        batch=options.batch,
        classes=options.classes,
        keypoint_shape=options.keypoint_shape,
        timeout_s=options.timeout_s,
    )
    recognition = recognise(source, head)
    if recognition.head is None:
        return _classifier(source, recognition, options)
    return _detector(source, recognition, recognition.head, options)


def _detector(
    source: ForeignNetwork, recognition: Recognition, head: DetectionHead, options: AdoptOptions
) -> Adoption:
    convention, size_wh = DETECTORS[recognition.name], source.facts.size_wh
    if not head.class_count:
        raise GraphError(
            f"{recognition}; finished boxes do not show the number of classes, and {source.path.name} has no class"
            " names; use --class-names FILE"
        )
    pixels, fit = options.pixels or convention.pixels, options.fit or convention.fit
    frames = _frames(source, options, fit, 1.0)
    model = graft_detector(
        source.network,
        head=head,
        pixels=pixels,
        frames=frames,
        network_size_wh=size_wh,
        nms=options.nms,
        network_fit=fit,
    )
    keypoints = _keypoints(source, head)
    outputs = _outputs(convention.task, options.nms.max_detections, keypoints)
    classes = _names(source, head.class_count)
    provenance = _provenance(source, recognition)
    spec = ModelSpec(
        source.path.stem, convention.task, frames, outputs, classes, provenance, options.nms, keypoints
    )
    return _finished(Adoption(model, spec, size_wh, pixels, fit, head, str(recognition)))


def _keypoints(source: ForeignNetwork, head: DetectionHead) -> KeypointSpec | None:
    """The keypoints of a pose: named by the file, or COCO's if there are 17."""
    if not isinstance(head, PoseHead):
        return None
    layout = KeypointSpec.of(head.keypoint_shape[0])
    names = source.metadata.keypoint_names
    return layout if names is None or len(names) != len(layout) else KeypointSpec(names, layout.skeleton)


def _outputs(task: Task, rows: int, keypoints: KeypointSpec | None) -> tuple[TensorSpec, ...]:
    if keypoints is not None:
        return pose_outputs(rows, len(keypoints))
    return obb_outputs(rows) if task == "obb" else detect_outputs(rows)


def _classifier(source: ForeignNetwork, recognition: Recognition, options: AdoptOptions) -> Adoption:
    count, task, size_wh = recognition.class_count, source.metadata.task, source.facts.size_wh
    # Classifiers whose files name their task take plain 0..1 and the whole of the shorter side.
    pixels = options.pixels or (PixelFormat("rgb") if task else IMAGENET_PIXELS)
    fit = options.fit or "center-crop"
    frames = _frames(source, options, fit, 1.0 if task else IMAGENET_CROP)
    model = graft_classifier(
        source.network, pixels=pixels, frames=frames, network_size_wh=size_wh, network_fit=fit
    )
    outputs, classes = classify_outputs(count), _names(source, count)
    provenance = _provenance(source, recognition)
    spec = ModelSpec(source.path.stem, "classify", frames, outputs, classes, provenance)
    return _finished(Adoption(model, spec, size_wh, pixels, fit, None, str(recognition)))


def _frames(source: ForeignNetwork, options: AdoptOptions, fit: Fit, crop_fraction: float) -> FrameInput:
    """Frames that the graph takes: of the network's size, or of the camera's."""
    if options.frame_wh is None:
        return FrameInput(source.facts.size_wh, fit, crop_fraction=crop_fraction, batch=source.batch)
    return FrameInput(options.frame_wh, "exact", crop_fraction=crop_fraction, batch=source.batch)


def _names(source: ForeignNetwork, count: int) -> tuple[str, ...]:
    """Class names: the user's, the file's, COCO's for 80 classes, else numbers."""
    numbers = COCO_CLASSES if count == len(COCO_CLASSES) else tuple(map(str, range(count)))
    return source.classes or numbers


def _provenance(source: ForeignNetwork, recognition: Recognition) -> Provenance:
    """Origin of the graph."""
    packages = ("onnx", "onnxslim", "numpy")
    found = tuple((package, importlib.metadata.version(package)) for package in packages)
    return Provenance(
        source=source.path.name,
        source_sha256=sha256_of_file(source.path),
        recipe=f"adopted: {recognition.name}",
        created=utc_now(),
        versions=(("edgevision", edgevision.__version__), *found),
    )


def _finished(adoption: Adoption) -> Adoption:
    attach_metadata(adoption.model, adoption.spec)
    check_contract(adoption.model, adoption.spec)
    return adoption
