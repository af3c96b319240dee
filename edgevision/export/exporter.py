"""Checkpoint to verified bundle: export, graft, check, compare, and only then write."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

import edgevision
from edgevision.bundle import Bundle, Check, Golden, Verification, sha256_of_file, write_bundle
from edgevision.errors import RecipeError, UsageError, VerificationError
from edgevision.export.golden import golden_frames, golden_from_source, network_input
from edgevision.export.network import onnx_from_module, run_network
from edgevision.export.recipe import Recipe, SourceModel
from edgevision.graph.contract import attach_metadata, check_contract
from edgevision.graph.graft import graft_classifier, graft_detector
from edgevision.nms import steps_needed
from edgevision.session import SessionOptions, open_session
from edgevision.spec import (
    BatchRange,
    FrameInput,
    ModelSpec,
    NmsSpec,
    Provenance,
    classify_outputs,
    detect_outputs,
)
from edgevision.verification import utc_now, verify_session

Progress = Callable[[str], None]
"""Told of each step as it is finished, in a few words."""

NETWORK_TOLERANCE = 1e-3
"""Largest difference of raw outputs, relative to their largest value, between PyTorch and ONNX Runtime in float32."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What the user chose; None leaves a choice to the recipe."""

    checkpoint: Path | None = None
    random_weights: bool = False
    size_wh: tuple[int, int] | None = None
    frame_wh: tuple[int, int] | None = None
    """Camera size, if the graph itself is to letterbox."""
    batch: BatchRange = BatchRange()
    nms: NmsSpec = NmsSpec()
    images: Path | None = None
    """Folder of images to verify on; None: the packaged photographs."""


def export_bundle(recipe: Recipe, options: ExportOptions, path: Path, progress: Progress) -> Bundle:
    """Run a recipe's whole way and write the bundle at `path`.

    Nothing is written unless every check passes. Raises `CheckpointError`, `GraphError`, `UsageError`, `BundleError`, and
    `VerificationError` if the finished graph does not answer as the PyTorch model does.
    """
    network_wh = _network_size(recipe, options)
    source = _source(recipe, options)
    source.module.eval()
    progress(f"read {source.variant}")
    frames = _frame_input(recipe, options, network_wh)
    network = onnx_from_module(
        source.module, network_wh, options.batch.opt, dynamic_batch=not options.batch.static
    )
    progress(f"exported to ONNX, {len(network.graph.node)} nodes")
    spec = _spec(recipe, options, source, frames)
    graph = _graft(recipe, source, network, spec, network_wh)
    attach_metadata(graph, spec)
    check_contract(graph, spec)
    progress(f"grafted the contract, {len(graph.graph.node)} nodes")
    shots = golden_frames(options.images, frames)
    golden = golden_from_source(source, shots, frames, network_wh, recipe.pixels, spec.nms)
    source_checks = _network_checks(recipe, source, network, frames, network_wh, golden)
    verification = verify_graph(graph.SerializeToString(), spec, golden, source_checks)
    progress(f"verified on {len(shots)} real frames against PyTorch")
    return write_bundle(path, spec, graph.SerializeToString(), golden, (verification,))


def verify_graph(
    graph: bytes, spec: ModelSpec, golden: Golden, further: tuple[Check, ...] = ()
) -> Verification:
    """Run a graph that is not in a bundle yet on its golden frames; raises `VerificationError` if a check fails."""
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(graph)
        with open_session(file, engine="onnxruntime", options=SessionOptions()) as session:
            record = verify_session(session, golden)
    record = Verification(
        record.engine, record.library, record.frames, (*further, *record.checks), record.created
    )
    if not record.passed:
        raise VerificationError(
            f"{spec.name} was not written: its graph differs from the source: {record.failures}"
        )
    return record


def _source(recipe: Recipe, options: ExportOptions) -> SourceModel:
    if options.random_weights:
        if options.checkpoint is not None:
            raise UsageError("--random-weights and --checkpoint exclude each other")
        return recipe.untrained()
    if options.checkpoint is None:
        published = f"; its authors publish {recipe.release.url}" if recipe.release else ""
        raise RecipeError(
            f"recipe {recipe.name} needs --checkpoint FILE{published}; --random-weights exports an untrained model"
        )
    return recipe.load(options.checkpoint)


def _network_size(recipe: Recipe, options: ExportOptions) -> tuple[int, int]:
    size = options.size_wh or recipe.size_wh
    if size[0] % recipe.stride or size[1] % recipe.stride:
        raise UsageError(f"--size {size[0]}x{size[1]}: {recipe.name} takes multiples of {recipe.stride}")
    return size


def _frame_input(recipe: Recipe, options: ExportOptions, network_wh: tuple[int, int]) -> FrameInput:
    if options.frame_wh is None:
        return FrameInput(network_wh, recipe.fit, crop_fraction=recipe.crop_fraction, batch=options.batch)
    if recipe.fit != "letterbox":
        raise UsageError(
            f"--frame puts a letterbox inside the graph; {recipe.name} was trained with {recipe.fit}"
        )
    return FrameInput(options.frame_wh, "exact", batch=options.batch)


def _spec(recipe: Recipe, options: ExportOptions, source: SourceModel, frames: FrameInput) -> ModelSpec:
    detects = recipe.task == "detect"
    outputs = detect_outputs(options.nms.max_detections) if detects else classify_outputs(len(source.classes))
    checkpoint = options.checkpoint
    provenance = Provenance(
        source=checkpoint.name if checkpoint else "random weights, seed 0",
        source_sha256=sha256_of_file(checkpoint) if checkpoint else None,
        recipe=f"{recipe.name}: {source.variant}",
        created=utc_now(),
        versions=_versions(),
    )
    name = checkpoint.stem if checkpoint else recipe.name
    return ModelSpec(
        name, recipe.task, frames, outputs, source.classes, provenance, options.nms if detects else None
    )


def _graft(
    recipe: Recipe,
    source: SourceModel,
    network: onnx.ModelProto,
    spec: ModelSpec,
    network_wh: tuple[int, int],
) -> onnx.ModelProto:
    if spec.nms is None:
        return graft_classifier(network, pixels=recipe.pixels, frames=spec.frames, network_size_wh=network_wh)
    if source.head is None:
        raise RecipeError(f"recipe {recipe.name} detects, but its source model names no head")
    return graft_detector(
        network,
        head=source.head,
        pixels=recipe.pixels,
        frames=spec.frames,
        network_size_wh=network_wh,
        nms=spec.nms,
    )


def _network_checks(
    recipe: Recipe,
    source: SourceModel,
    network: onnx.ModelProto,
    frames: FrameInput,
    network_wh: tuple[int, int],
    golden: Golden,
) -> tuple[Check, ...]:
    """Compare the bare network's raw outputs, where a difference cannot hide behind a threshold."""
    worst = 0.0
    batch = frames.batch.opt
    for start in range(0, len(golden.frames), batch):
        rows = np.arange(start, start + batch).clip(max=len(golden.frames) - 1)
        tensor = network_input(golden.frames[rows], frames, network_wh, recipe.pixels)
        with torch.no_grad():
            answers = source.module(tensor)
        expected = [answers] if isinstance(answers, torch.Tensor) else list(answers)
        for left, right in zip(expected, run_network(network, tensor.numpy()), strict=True):
            scale = max(float(left.abs().max()), 1e-12)
            worst = max(worst, float(np.abs(left.numpy() - right).max()) / scale)
    return (Check("relative difference of the network's raw outputs", worst, "<=", NETWORK_TOLERANCE),)


def _versions() -> tuple[tuple[str, str], ...]:
    packages = ("torch", "onnx", "onnxslim", "onnxruntime", "numpy")
    found = [("edgevision", edgevision.__version__)]
    for package in packages:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue  # onnxruntime-gpu stands in for onnxruntime under another name
    return tuple(found)


__all__ = ["ExportOptions", "Progress", "export_bundle", "steps_needed", "verify_graph"]
