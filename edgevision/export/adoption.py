"""Converts a third-party ONNX file to a verified bundle, without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgevision.bundle.folder import Bundle, Golden, check_destination, write_bundle
from edgevision.contract.spec import NmsSpec
from edgevision.errors import GraphError
from edgevision.export.close_up import with_close_up
from edgevision.export.file_source import golden_from_file
from edgevision.export.frames import golden_frames
from edgevision.export.verify import Progress, depth_check, verify_graph, what_was_compared
from edgevision.graph.adopt import Adoption, AdoptOptions, adopt
from edgevision.graph.limits.check import require_named
from edgevision.graph.nms import CANDIDATES

Frames = npt.NDArray[np.uint8]

MOST_STEPS = 64
"""More unrolled NMS steps are not added without being asked for: each is a product of matrices."""


def adopt_bundle(
    model: Path, head: str | None, options: AdoptOptions, images: Path | None, path: Path, progress: Progress
) -> Bundle:
    """Add the contract to `model`, compare the result with the original file's answers, and write the bundle.

    `head` is one of `conventions.HEADS`, None to recognise it.
    The original file runs in ONNX Runtime, with pre-processing, decoding and NMS in numpy. Nothing is written unless
    every check passes. Raises `GraphError`, `UsageError`, `BundleError`, `VerificationError`.
    """
    check_destination(path)
    adoption = adopt(model, head, options)
    width, height = adoption.network_size_wh
    progress(f"{adoption.recognition}; input {width}x{height}")
    progress(f"pixels: {adoption.pixel_choice}")
    require_named(adoption.model, options.tensorrt, f"the graph of {model}")
    frames = with_close_up(adoption.model, adoption.spec, golden_frames(images, adoption.spec.frames))
    adoption = _with_enough_steps(model, head, options, adoption, frames, progress)
    golden, raw = golden_from_file(model, adoption, frames)
    if adoption.wrong_choice:
        raise GraphError(adoption.wrong_choice)
    progress("ran the original file on the golden frames")
    verification = verify_graph(adoption.model, adoption.spec, golden, raw=raw)
    progress(f"verified on {len(frames)} real frames against the original file{what_was_compared(golden)}")
    return write_bundle(path, adoption.spec, adoption.model.SerializeToString(), golden, (verification,))


def _with_enough_steps(
    model: Path,
    head: str | None,
    options: AdoptOptions,
    adoption: Adoption,
    frames: Frames,
    progress: Progress,
) -> Adoption:
    """The adoption, again with more NMS steps if the frames need them and the user has not chosen a number.

    Networks that crowd boxes of nearly equal scores need more than the default.
    """
    nms = adoption.spec.nms
    ours = any(CANDIDATES[1] in node.output for node in adoption.model.graph.node)
    if nms is None or not ours or nms.depth != NmsSpec().depth:
        return adoption
    needed = int(depth_check(adoption.model, adoption.spec, nms, Golden(frames, ())).measured)
    if not nms.depth < needed <= MOST_STEPS:
        return adoption
    depth = needed + needed // 4
    depth += depth % 2
    progress(f"NMS steps raised from {nms.depth} to {depth}: the golden frames need {needed}")
    more = replace(
        options, nms=replace(options.nms, depth=depth), mask_nms=replace(options.mask_nms, depth=depth)
    )
    return adopt(model, head, more)
