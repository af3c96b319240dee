"""Converts a third-party ONNX file to a verified bundle, without torch."""

from __future__ import annotations

from pathlib import Path

from edgevision.bundle.folder import Bundle, write_bundle
from edgevision.export.close_up import with_close_up
from edgevision.export.file_source import golden_from_file
from edgevision.export.frames import golden_frames
from edgevision.export.verify import Progress, verify_graph, what_was_compared
from edgevision.graph.adopt import AdoptOptions, adopt
from edgevision.graph.limits.check import require_named


def adopt_bundle(
    model: Path, head: str | None, options: AdoptOptions, images: Path | None, path: Path, progress: Progress
) -> Bundle:
    """Add the contract to `model`, compare the result with the original file's answers, and write the bundle.

    `head` is one of `conventions.HEADS`, None to recognise it.
    The original file runs in ONNX Runtime, with pre-processing, decoding and NMS in numpy. Nothing is written unless
    every check passes. Raises `GraphError`, `UsageError`, `BundleError`, `VerificationError`.
    """
    adoption = adopt(model, head, options)
    width, height = adoption.network_size_wh
    progress(f"{adoption.recognition}; input {width}x{height}")
    require_named(adoption.model, options.tensorrt, f"the graph of {model}")
    frames = with_close_up(adoption.model, adoption.spec, golden_frames(images, adoption.spec.frames))
    golden, raw = golden_from_file(model, adoption, frames)
    progress("ran the original file on the golden frames")
    verification = verify_graph(adoption.model, adoption.spec, golden, raw=raw)
    progress(f"verified on {len(frames)} real frames against the original file{what_was_compared(golden)}")
    return write_bundle(path, adoption.spec, adoption.model.SerializeToString(), golden, (verification,))
