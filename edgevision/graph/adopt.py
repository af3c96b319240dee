"""Adopts a third-party ONNX model: adds the graph contract to it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import onnx

import edgevision
from edgevision.contract.spec import (
    BatchRange,
    Fit,
    FrameInput,
    KeypointSpec,
    Layout,
    ModelSpec,
    NmsSpec,
    Provenance,
    Task,
    TensorSpec,
    checked_size,
    classify_outputs,
    default_nms,
    detect_outputs,
    instances_outputs,
    obb_outputs,
    pose_outputs,
    segment_outputs,
    translate_outputs,
    utc_now,
)
from edgevision.errors import GraphError
from edgevision.graph.coco import COCO_BY_ID, COCO_CLASSES
from edgevision.graph.contract import attach_metadata, check_contract
from edgevision.graph.conventions import (
    DETECTORS,
    HEADS,
    IMAGE,
    IMAGENET_CROP,
    IMAGENET_PIXELS,
    known_heads,
)
from edgevision.graph.first_run import TIMEOUT_S
from edgevision.graph.foreign.inputs import FileInputs
from edgevision.graph.foreign.network import ForeignNetwork, read_foreign
from edgevision.graph.foreign.pixels import UNSTATED, PixelChanges, PixelChoice, choose_pixels
from edgevision.graph.foreign.recognition import Recognition, recognise
from edgevision.graph.graft import (
    graft_classifier,
    graft_detector,
    graft_instances,
    graft_segmenter,
    graft_translator,
    translator_image,
)
from edgevision.graph.heads.head import DetectionHead, MaskHead, NmsPlugin, PoseHead
from edgevision.graph.heads.segmenter import SegmenterHead
from edgevision.graph.masks import mask_size_wh
from edgevision.graph.preprocess import PixelFormat
from edgevision.storage.sha256 import sha256_of_file

ASSUMED = "assumed: ImageNet's, because the file states none; --mean, --std, --scale and --colour change it"

_MASK_NMS = default_nms("instances")


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """The user's choices; None leaves a choice to the file and to its head's convention."""

    classes: tuple[str, ...] | None = None
    pixels: PixelFormat | None = None
    pixel_changes: PixelChanges = UNSTATED
    """Parts of the pixel format that the user states; ignored if `pixels` is given."""
    fit: Fit | None = None
    size_wh: tuple[int, int] | None = None
    """The network's input size; required if the file leaves it open."""
    frame_wh: tuple[int, int] | None = None
    """Camera size, if the graph should scale frames."""
    layout: Layout = "bgr"
    """Layout of the frames that the graph takes."""
    keypoint_shape: tuple[int, int] | None = None
    """Number of keypoints and of values of each, 2 or 3; required if shapes and metadata leave it open."""
    batch: BatchRange | None = None
    nms: NmsSpec = NmsSpec()
    mask_nms: NmsSpec = _MASK_NMS
    """The same for models with instance masks, which return fewer detections."""
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
    pixel_choice: str
    """The pixel format in words with its origin, such as "RGB, value / 255 (as models of head yolov8 are trained)"."""
    inputs: FileInputs
    fit: Fit
    """The fit of a frame to `network_size_wh`, by the host or in the graph."""
    head: DetectionHead | None
    """None for a classifier, a segmenter and an image."""
    recognition: str
    """The head and why, such as "head yolov8: one output [1, 84, 8400], 80 classes"."""
    segmenter: SegmenterHead | None = None
    packed: bool = False
    """True if the file's outputs are rows of one frame, without a batch."""
    plugin: NmsPlugin | None = None
    """The plugin in the file, without which ONNX Runtime can run it."""
    wrong_choice: str = ""
    """`Recognition.wrong_choice`, an error unless the values of the outputs already show another one."""


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
    if recognition.segmenter is not None:
        adoption = _segmenter(source, recognition, recognition.segmenter, options)
    elif recognition.name == IMAGE:
        adoption = _translator(source, recognition, options)
    elif recognition.head is None:
        adoption = _classifier(source, recognition, options)
    else:
        adoption = _detector(source, recognition, recognition.head, options)
    return replace(adoption, wrong_choice=recognition.wrong_choice)


def _detector(
    source: ForeignNetwork, recognition: Recognition, head: DetectionHead, options: AdoptOptions
) -> Adoption:
    convention, size_wh = DETECTORS[recognition.name], source.facts.size_wh
    if not head.class_count:
        raise GraphError(
            f"{recognition}; finished boxes do not show the number of classes, and {source.path.name} has no class"
            " names; use --class-names FILE"
        )
    choice = _pixels(source, options, convention.pixels, f"as models of head {recognition.name} are trained")
    fit = options.fit or convention.fit
    frames = _frames(source, options, fit, 1.0)
    network, pixels, task = source.network, choice.pixels, convention.task
    keypoints = _keypoints(source, head)
    if task == "instances":
        nms, mask_head = options.mask_nms, cast(MaskHead, head)
        model = graft_instances(
            network,
            head=mask_head,
            pixels=pixels,
            frames=frames,
            network_size_wh=size_wh,
            nms=nms,
            network_fit=fit,
        )
        outputs = instances_outputs(nms.max_detections, mask_size_wh(frames.size_wh, size_wh, fit))
    else:
        nms = _nms(source, options.nms)
        model = graft_detector(
            network,
            head=head,
            pixels=pixels,
            frames=frames,
            network_size_wh=size_wh,
            nms=nms,
            network_fit=fit,
        )
        outputs = _outputs(task, nms.max_detections, keypoints)
    classes, provenance = _names(source, head.class_count), _provenance(source, recognition, choice)
    spec = ModelSpec(source.path.stem, task, frames, outputs, classes, provenance, nms, keypoints)
    words = str(recognition)
    return _finished(
        Adoption(
            model,
            spec,
            size_wh,
            pixels,
            str(choice),
            source.inputs,
            fit,
            head,
            words,
            packed=convention.packed,
            plugin=source.facts.plugin,
        )
    )


def _nms(source: ForeignNetwork, chosen: NmsSpec) -> NmsSpec:
    """The user's settings; settings left at their defaults come from the plugin that was cut, if there is one."""
    plugin = source.facts.plugin
    if plugin is None:
        return chosen
    usual = NmsSpec()
    taken: dict[str, Any] = {
        "candidates": max(usual.candidates, plugin.max_detections),
        "max_detections": plugin.max_detections,
        "iou_threshold": plugin.iou_threshold,
        "score_floor": plugin.score_threshold,
    }
    changes = {name: value for name, value in taken.items() if getattr(chosen, name) == getattr(usual, name)}
    try:
        return replace(chosen, **changes)
    except ValueError as error:
        raise GraphError(f"the settings of {plugin.operator} are not supported: {error}") from error


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
    choice = _pixels(source, options, IMAGENET_PIXELS, ASSUMED)
    if task and not source.metadata.pixels:
        choice = _pixels(source, options, PixelFormat("rgb"), f"as models of the task {task!r} are trained")
    pixels = choice.pixels
    fit = options.fit or "center-crop"
    frames = _frames(source, options, fit, 1.0 if task else IMAGENET_CROP)
    model = graft_classifier(
        source.network, pixels=pixels, frames=frames, network_size_wh=size_wh, network_fit=fit
    )
    outputs, classes = classify_outputs(count), _names(source, count)
    provenance = _provenance(source, recognition, choice)
    spec = ModelSpec(source.path.stem, "classify", frames, outputs, classes, provenance)
    return _finished(
        Adoption(model, spec, size_wh, pixels, str(choice), source.inputs, fit, None, str(recognition))
    )


def _segmenter(
    source: ForeignNetwork, recognition: Recognition, head: SegmenterHead, options: AdoptOptions
) -> Adoption:
    size_wh, fit = source.facts.size_wh, options.fit or "stretch"
    choice = _pixels(source, options, IMAGENET_PIXELS, ASSUMED)
    frames = _frames(source, options, fit, 1.0)
    model = graft_segmenter(
        source.network,
        pixels=choice.pixels,
        frames=frames,
        network_size_wh=size_wh,
        network_fit=fit,
        head=head,
    )
    outputs, classes = segment_outputs(frames.size_wh), _names(source, head.class_count)
    provenance = _provenance(source, recognition, choice)
    spec = ModelSpec(source.path.stem, "segment", frames, outputs, classes, provenance)
    words = str(recognition)
    return _finished(
        Adoption(model, spec, size_wh, choice.pixels, str(choice), source.inputs, fit, None, words, head)
    )


def _translator(source: ForeignNetwork, recognition: Recognition, options: AdoptOptions) -> Adoption:
    size_wh, image_wh = source.facts.size_wh, translator_image(source.facts.outputs)
    # Scaling a frame first would remove what an enlarging network should show.
    fit = options.fit or ("letterbox" if image_wh == size_wh else "exact")
    choice = _pixels(
        source, options, PixelFormat("rgb"), "assumed for input and output, because the file states none"
    )
    frames = _frames(source, options, fit, 1.0)
    model = graft_translator(
        source.network,
        pixels=choice.pixels,
        image_pixels=choice.pixels,
        frames=frames,
        network_size_wh=size_wh,
        network_fit=fit,
    )
    provenance = _provenance(source, recognition, choice)
    spec = ModelSpec(source.path.stem, "translate", frames, translate_outputs(image_wh), (), provenance)
    words = str(recognition)
    return _finished(
        Adoption(model, spec, size_wh, choice.pixels, str(choice), source.inputs, fit, None, words)
    )


def _pixels(source: ForeignNetwork, options: AdoptOptions, usual: PixelFormat, origin: str) -> PixelChoice:
    """The user's pixel format, the file's, or the usual one, in this order."""
    if options.pixels is not None:
        return PixelChoice(options.pixels, "as chosen")
    return choose_pixels(options.pixel_changes, source.metadata.pixels, usual, origin)


def _frames(source: ForeignNetwork, options: AdoptOptions, fit: Fit, crop_fraction: float) -> FrameInput:
    """Frames that the graph takes: of the network's size, or of the camera's."""
    size_wh = checked_size(options.frame_wh or source.facts.size_wh, options.layout)
    how = fit if options.frame_wh is None else "exact"
    return FrameInput(size_wh, how, crop_fraction=crop_fraction, batch=source.batch, layout=options.layout)


def _names(source: ForeignNetwork, count: int) -> tuple[str, ...]:
    """Class names: the user's, the file's, COCO's for 80 classes or 91 ids, else numbers."""
    known = {len(names): names for names in (COCO_CLASSES, COCO_BY_ID)}
    return source.classes or known.get(count) or tuple(map(str, range(count)))


def _provenance(source: ForeignNetwork, recognition: Recognition, choice: PixelChoice) -> Provenance:
    """Origin of the graph."""
    packages = ("onnx", "onnxslim", "numpy")
    found = tuple((package, importlib.metadata.version(package)) for package in packages)
    return Provenance(
        source=source.path.name,
        source_sha256=sha256_of_file(source.path),
        recipe=f"adopted: {recognition.name}",
        created=utc_now(),
        versions=(("edgevision", edgevision.__version__), *found),
        pixels=str(choice),
    )


def _finished(adoption: Adoption) -> Adoption:
    attach_metadata(adoption.model, adoption.spec)
    check_contract(adoption.model, adoption.spec)
    return adoption
