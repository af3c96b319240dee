"""Exports a checkpoint to a verified bundle; writes it only after all checks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import onnx

from edgevision.bundle.folder import Bundle, CheckRecord, Golden, check_destination, write_bundle
from edgevision.contract.spec import (
    BOX_TASKS,
    BatchRange,
    Fit,
    FrameInput,
    KeypointSpec,
    Layout,
    ModelSpec,
    NmsSpec,
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
)
from edgevision.errors import RecipeError, UsageError, VerificationError
from edgevision.export.close_up import with_close_up
from edgevision.export.file_source import relative_difference
from edgevision.export.frames import golden_frames
from edgevision.export.generators.exporter import export_generator
from edgevision.export.generators.job import GeneratorJob
from edgevision.export.golden import golden_from_source, network_input, with_source_values
from edgevision.export.modules.branches import branch_hint
from edgevision.export.modules.heads import detection_head, segmenter_head, with_head
from edgevision.export.modules.outputs import described_outputs, module_outputs
from edgevision.export.modules.styles import network_of, styles_difference, with_fixed_style
from edgevision.export.network import run_network
from edgevision.export.runs import model_name, provenance_of, trained_from
from edgevision.export.source_session import SourceSession
from edgevision.export.verify import Progress, verify_graph, what_was_compared
from edgevision.graph.contract import attach_metadata, check_contract
from edgevision.graph.foreign.pixels import UNSTATED, PixelChanges, pixel_text
from edgevision.graph.graft import (
    graft_classifier,
    graft_detector,
    graft_instances,
    graft_segmenter,
    graft_translator,
    translator_image,
)
from edgevision.graph.heads import MaskHead, NetworkOutput, PoseHead
from edgevision.graph.limits.check import require_named
from edgevision.graph.masks import mask_size_wh
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import Recipe, SourceModel

NETWORK_TOLERANCE = 1e-3
"""Largest difference of raw outputs, relative to their largest value, between PyTorch and ONNX Runtime in float32."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The user's choices; None leaves a choice to the recipe."""

    checkpoint: Path | None = None
    random_weights: bool = False
    classes: tuple[str, ...] | None = None
    size_wh: tuple[int, int] | None = None
    frame_wh: tuple[int, int] | None = None
    """Camera size, if the graph should scale frames to the network's size."""
    batch: BatchRange = BatchRange()
    layout: Layout = "bgr"
    """Layout of the frames that the graph takes."""
    nms: NmsSpec | Callable[[Task], NmsSpec] | None = None
    """Settings of NMS, or a function of the task, which may depend on the checkpoint."""
    pixels: PixelChanges = UNSTATED
    """Stated parts of the pixel format."""
    crop_fraction: float | None = None
    """Share of a frame's shorter side that a classifier's centre crop takes."""
    head: str | None = None
    """One of several heads of the checkpoint; None: its own choice."""
    images: Path | None = None
    """Folder of images to verify on; None: the packaged photographs."""
    tensorrt: tuple[str, ...] = ()
    """TensorRT versions, as `graph.limits` names them, that must be able to read the graph."""


class _Common(TypedDict):
    """Arguments that all grafts share."""

    pixels: PixelFormat
    frames: FrameInput
    network_size_wh: tuple[int, int]
    network_fit: Fit


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One export: the recipe for this checkpoint, the source model, and the frames of network and graph."""

    recipe: Recipe
    source: SourceModel
    """With its head as an object."""
    network: FrameInput
    spec: ModelSpec
    outputs: tuple[NetworkOutput, ...]
    """The module's raw outputs."""
    graph: Callable[[], onnx.ModelProto]
    """The bare network as ONNX; exported by the first call."""


def export_bundle(recipe: Recipe, options: ExportOptions, path: Path, progress: Progress) -> Bundle:
    """Run the whole export of a recipe and write the bundle at `path`.

    Nothing is written unless every check passes. Raises `CheckpointError`, `GraphError`, `UsageError`, `BundleError`,
    and `VerificationError` if the finished graph does not match the PyTorch model.
    """
    check_destination(path)
    given, options = options, _from_run(options)
    source = _with_chosen_head(_source(recipe, options), options.head)
    if recipe.adapted_to(source).task == "generate":
        _refuse_frames(recipe, given)
        return export_generator(_generator(recipe.adapted_to(source), source, options), path, progress)
    job = _prepare(recipe, source, options)
    progress(f"read {job.source.variant}")
    if job.source.input_origin:
        progress(_input_line(job, options))
    network = job.graph()
    progress(f"exported to ONNX, {len(network.graph.node)} nodes")
    graph = _graft(job, network)
    progress(f"added the contract, {len(graph.graph.node)} nodes")
    require_named(graph, options.tensorrt, f"the graph of {recipe.name}")
    shots = golden_frames(options.images, job.spec.frames)
    if not options.random_weights:
        shots = with_close_up(graph, job.spec, shots)
    golden = golden_from_source(job.source, shots, job.network, job.recipe.pixels, job.spec.nms)
    golden, raw = with_source_values(job.source, golden, job.network, job.recipe.pixels, job.spec.nms)
    further = (_network_check(job, network, golden),)
    try:
        verification = verify_graph(graph, job.spec, golden, further, raw)
    except VerificationError as error:
        tensor, _ = network_input(golden.frames[:1], job.network, job.recipe.pixels)
        raise VerificationError(f"{error}{branch_hint(job.source.module, tensor)}") from error
    progress(f"verified on {len(shots)} real frames against PyTorch{what_was_compared(golden)}")
    return write_bundle(path, job.spec, graph.SerializeToString(), golden, (verification,))


def source_session(recipe: Recipe, options: ExportOptions) -> SourceSession:
    """The source model in PyTorch as a session: the reference for measurements of bundles."""
    options = _from_run(options)
    job = _prepare(recipe, _with_chosen_head(_source(recipe, options), options.head), options)
    return SourceSession(job.source, job.network, job.recipe.pixels, job.spec)


def _from_run(options: ExportOptions) -> ExportOptions:
    """Take the best weights of a run folder, and the size that they were trained for."""
    if options.checkpoint is None:
        return options
    trained = trained_from(options.checkpoint)
    return replace(options, checkpoint=trained.checkpoint, size_wh=options.size_wh or trained.size_wh)


def _refuse_frames(recipe: Recipe, options: ExportOptions) -> None:
    """Raise `UsageError` for options of models that take frames."""
    given = {
        "--size": options.size_wh is not None,
        "--frame": options.frame_wh is not None,
        "--layout": options.layout != "bgr",
        "--images": options.images is not None,
        "--crop": options.crop_fraction is not None,
        "the options of the pixel format": bool(options.pixels),
    }
    names = [name for name, stated in given.items() if stated]
    if names:
        raise UsageError(
            f"{recipe.name} makes images from noise and takes no frames: omit {' and '.join(names)}"
        )


def _generator(recipe: Recipe, source: SourceModel, options: ExportOptions) -> GeneratorJob:
    return GeneratorJob(
        name=model_name(options.checkpoint) if options.checkpoint else recipe.name,
        source=source,
        classes=_classes(source, options),
        pixels=recipe.pixels,
        batch=options.batch,
        provenance=provenance_of(recipe, source, options.checkpoint),
        tensorrt=options.tensorrt,
        tokenizers=source.tokenizers,
    )


def _prepare(recipe: Recipe, source: SourceModel, options: ExportOptions) -> _Job:
    recipe = _with_choices(recipe.adapted_to(source), options)
    size_wh = options.size_wh or recipe.size_wh
    if size_wh[0] % recipe.stride or size_wh[1] % recipe.stride:
        raise UsageError(
            f"--size {size_wh[0]}x{size_wh[1]}: {recipe.name} needs multiples of {recipe.stride}"
        )
    network = FrameInput(
        checked_size(size_wh, options.layout),
        recipe.fit,
        crop_fraction=recipe.crop_fraction,
        batch=options.batch,
        layout=options.layout,
    )
    frames = network
    if options.frame_wh is not None:
        frames = replace(network, size_wh=checked_size(options.frame_wh, options.layout), fit="exact")
    source = with_fixed_style(source)
    source.module.eval()
    outputs = described_outputs(source.module, recipe.name, size_wh)
    batch = options.batch

    @functools.cache
    def graph() -> onnx.ModelProto:
        return network_of(source.module, size_wh, batch.opt, dynamic_batch=not batch.static)

    if recipe.task == "translate":
        source = replace(source, image_pixels=source.image_pixels or recipe.pixels)
    resolved = with_head(source, recipe.name, recipe.task, size_wh, outputs, graph)
    spec = _spec(recipe, options, resolved, frames, size_wh, outputs)
    return _Job(recipe, resolved, network, spec, outputs, graph)


def _with_choices(recipe: Recipe, options: ExportOptions) -> Recipe:
    """The recipe with the user's pixel format and crop."""
    crop = recipe.crop_fraction if options.crop_fraction is None else options.crop_fraction
    if options.crop_fraction is not None and recipe.fit != "center-crop":
        raise UsageError(
            f"--crop is for a classifier's centre crop; {recipe.name} fits frames by {recipe.fit}: omit --crop"
        )
    return replace(recipe, pixels=options.pixels.over(recipe.pixels), crop_fraction=crop)


def _input_line(job: _Job, options: ExportOptions) -> str:
    """One line about the input and its origin, for a checkpoint that does not state it itself."""
    (width, height), recipe = job.network.size_wh, job.recipe
    chosen = options.pixels or options.crop_fraction is not None
    origin = "as chosen" if chosen else job.source.input_origin
    crop = f"centre crop of {recipe.crop_fraction:.3g} of the shorter side"
    return f"input {width}x{height}, {crop}, {pixel_text(recipe.pixels)} ({origin})"


def _source(recipe: Recipe, options: ExportOptions) -> SourceModel:
    if options.random_weights:
        if options.checkpoint is not None:
            raise UsageError("--random-weights and --checkpoint exclude each other")
        if recipe.file is not None:
            raise UsageError(f"{recipe.file} provides its own weights; omit --random-weights")
        return recipe.untrained()
    if options.checkpoint is None and recipe.file is None:
        published = f"; the authors' file: {recipe.release.url}" if recipe.release else ""
        raise RecipeError(
            f"recipe {recipe.name} needs --checkpoint FILE{published}; --random-weights exports an untrained model"
        )
    return recipe.untrained() if options.checkpoint is None else recipe.load(options.checkpoint)


def _with_chosen_head(source: SourceModel, head: str | None) -> SourceModel:
    if head is None:
        return source
    if head not in source.heads:
        heads = f"its heads are {', '.join(source.heads)}" if source.heads else "it has only one head"
        raise UsageError(f"--head {head}: the checkpoint holds {source.variant}; {heads}")
    return source.heads[head]()


def _spec(
    recipe: Recipe,
    options: ExportOptions,
    source: SourceModel,
    frames: FrameInput,
    network_wh: tuple[int, int],
    raw: tuple[NetworkOutput, ...],
) -> ModelSpec:
    classes = _classes(source, options)
    nms = options.nms or default_nms
    nms = nms if isinstance(nms, NmsSpec) else nms(recipe.task)
    detects = recipe.task in BOX_TASKS
    keypoints = _keypoints(recipe, source)
    return ModelSpec(
        name=model_name(options.checkpoint) if options.checkpoint else recipe.name,
        task=recipe.task,
        input=frames,
        outputs=(
            translate_outputs(translator_image(raw))
            if recipe.task == "translate"
            else _outputs(recipe, nms, frames, network_wh, len(keypoints or classes))
        ),
        classes=classes,
        provenance=provenance_of(recipe, source, options.checkpoint),
        nms=nms if detects else None,
        keypoints=keypoints,
    )


def _classes(source: SourceModel, options: ExportOptions) -> tuple[str, ...]:
    """The user's class names, or those of the source."""
    classes = source.classes if options.classes is None else options.classes
    if len(classes) != len(source.classes):
        raise UsageError(
            f"--class-names names {len(classes)}; the checkpoint has {len(source.classes)} classes"
        )
    return classes


def _keypoints(recipe: Recipe, source: SourceModel) -> KeypointSpec | None:
    """The keypoints of a pose: named by the source, or `KeypointSpec.of` their number."""
    head = detection_head(source)
    if recipe.task != "pose" or not isinstance(head, PoseHead):
        return None
    found = source.keypoints or KeypointSpec.of(head.keypoint_shape[0])
    if len(found) != head.keypoint_shape[0]:
        raise RecipeError(
            f"{recipe.name}: {len(found)} keypoints are named; the head has {head.keypoint_shape[0]}"
        )
    return found


def _outputs(
    recipe: Recipe, nms: NmsSpec, frames: FrameInput, network_wh: tuple[int, int], count: int
) -> tuple[TensorSpec, ...]:
    """The task's outputs; `count` is the number of classes, or of keypoints for poses."""
    if recipe.task == "classify":
        return classify_outputs(count)
    if recipe.task == "segment":
        return segment_outputs(frames.size_wh)
    if recipe.task == "instances":
        return instances_outputs(nms.max_detections, mask_size_wh(frames.size_wh, network_wh, recipe.fit))
    if recipe.task == "pose":
        return pose_outputs(nms.max_detections, count)
    return obb_outputs(nms.max_detections) if recipe.task == "obb" else detect_outputs(nms.max_detections)


def _graft(job: _Job, network: onnx.ModelProto) -> onnx.ModelProto:
    """The whole graph with its embedded spec, checked against it."""
    recipe, spec, size_wh = job.recipe, job.spec, job.network.size_wh
    common: _Common = {
        "pixels": recipe.pixels,
        "frames": spec.frames,
        "network_size_wh": size_wh,
        "network_fit": recipe.fit,
    }
    head = detection_head(job.source)
    if spec.task == "classify":
        graph = graft_classifier(network, **common)
    elif spec.task == "segment":
        mask = segmenter_head(job.outputs, size_wh, len(spec.classes))
        graph = graft_segmenter(network, head=mask, **common)
    elif spec.task == "translate":
        assert job.source.image_pixels is not None, "`_prepare` sets it"
        graph = graft_translator(network, image_pixels=job.source.image_pixels, **common)
    else:
        assert head is not None, "a detecting source has a head"
        assert spec.nms is not None, "a detecting recipe has NMS settings"
        if spec.task == "instances":
            graph = graft_instances(network, head=cast(MaskHead, head), nms=spec.nms, **common)
        else:
            graph = graft_detector(network, head=head, nms=spec.nms, **common)
    attach_metadata(graph, spec)
    check_contract(graph, spec)
    return graph


def _network_check(job: _Job, network: onnx.ModelProto, golden: Golden) -> CheckRecord:
    """Compare the bare network's raw outputs, where no threshold can hide a difference."""
    worst = 0.0
    size = job.network.batch.opt
    for start in range(0, len(golden.frames), size):
        rows = np.arange(start, start + size).clip(max=len(golden.frames) - 1)
        tensor, _ = network_input(golden.frames[rows], job.network, job.recipe.pixels)
        expected = module_outputs(job.source.module, tensor)
        actual = run_network(network, tensor.numpy())
        pairs = zip((array.numpy() for array in expected), actual, strict=True)
        worst = max(worst, *(relative_difference(left, right) for left, right in pairs))
    worst = max(worst, styles_difference(job.source.module, network, tensor))
    return CheckRecord(
        "relative difference of the network's raw outputs", worst, "<=", NETWORK_TOLERANCE, "network"
    )
