"""Computes a PyTorch model's input tensors and answers for golden frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from edgevision.bundle.folder import Golden
from edgevision.contract.image import fit_pixels
from edgevision.contract.results import Outputs
from edgevision.contract.spec import FrameInput, NmsSpec
from edgevision.contract.transform import FrameTransform
from edgevision.export.candidates import source_candidates
from edgevision.export.file_source import RawOutputs, by_frame
from edgevision.export.modules.answers import answers_of, undecided_pixels
from edgevision.export.modules.heads import detection_head
from edgevision.export.modules.outputs import module_outputs, output_name
from edgevision.graph.masks import MASK_STRIDE, mask_size_wh
from edgevision.graph.preprocess import PixelFormat
from edgevision.graph.resample import nv12_pixels
from edgevision.models.masks import Mixture, answers_from_mixture, over_frame
from edgevision.models.recipe import SourceModel

TIE = 1e-4
"""Logits this close, relative to the largest one, are equal up to rounding."""


def network_input(
    frames: npt.NDArray[np.uint8], network: FrameInput, pixels: PixelFormat
) -> tuple[torch.Tensor, FrameTransform]:
    """The expected input of the network: float32 ``[B,3,h,w]``, computed with OpenCV and PyTorch.

    `network` is the network's own input format, with the layout of the frames. Pixels are scaled in float32 without
    rounding, as inside the graph; frames of the network's size are not scaled. Frames of the layout "nv12" are scaled
    and converted in float64. The placement is the same for every frame.
    """
    width, height = frame_wh = _size_of(frames, network)
    fits = frame_wh == network.size_wh
    target = replace(network, fit="exact") if fits else network
    if network.layout == "nv12":
        graph = replace(network, size_wh=frame_wh, fit="exact")
        images = nv12_pixels(frames, graph, network.size_wh, network.fit).astype(np.float32)
        _, placement = fit_pixels(np.zeros((height, width, 3), np.uint8), target)
    else:
        fitted = [fit_pixels(frame.astype(np.float32), target) for frame in frames]
        images, placement = np.stack([image for image, _ in fitted]), fitted[0][1]
    tensor = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    if pixels.order == "rgb":
        tensor = tensor.flip(1)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (pixels.mean, pixels.std))
    return (tensor * pixels.scale - mean) / std, placement


def _size_of(frames: npt.NDArray[np.uint8], network: FrameInput) -> tuple[int, int]:
    """Width and height of frames in the network's layout."""
    rows, width = frames.shape[1:3]
    return width, (rows - 1) * 2 // 3 if network.layout == "nv12" else rows


def golden_from_source(
    source: SourceModel,
    frames: npt.NDArray[np.uint8],
    network: FrameInput,
    pixels: PixelFormat,
    nms: NmsSpec | None,
) -> Golden:
    """Run the source model on frames of the graph's size and of `network.layout`; results are in their pixels."""
    tensor, placement = network_input(frames, network, pixels)
    frame_wh = _size_of(frames, network)
    answers = answers_of(source, module_outputs(source.module, tensor), nms, network.size_wh)
    if isinstance(answers, Mixture):
        if frame_wh != network.size_wh:
            mask_wh = mask_size_wh(frame_wh, network.size_wh, network.fit)
            answers = over_frame(answers, placement, mask_wh, MASK_STRIDE)
        return Golden(frames, answers_from_mixture(answers, frame_wh))
    if frame_wh == network.size_wh:
        return Golden(frames, answers)
    if nms is not None:
        answers = _over_frame(answers, placement)
    elif answers[0].ndim == 3:
        answers = (np.stack([placement.frame_from_input_mask(mask) for mask in answers[0]]),)
    return Golden(frames, answers)


def with_source_values(
    source: SourceModel,
    golden: Golden,
    network: FrameInput,
    pixels: PixelFormat,
    nms: NmsSpec | None,
) -> tuple[Golden, RawOutputs]:
    """The golden frames with what the source model chose its answers from, and its raw outputs."""
    tensor, placement = network_input(golden.frames, network, pixels)
    arrays = [output.numpy() for output in module_outputs(source.module, tensor)]
    head = detection_head(source)
    names = tuple(output_name(place) for place in range(len(arrays)))
    raw = RawOutputs(names, arrays, head, placement)
    if head is not None and nms is not None:
        return replace(golden, candidates=source_candidates(by_frame(arrays), head, nms, placement)), raw
    if golden.answers[0].dtype == np.uint8 and source.image_pixels is None:
        unsure = undecided_pixels(source, arrays[0], network.size_wh, TIE)
        if unsure.shape != golden.answers[0].shape:
            unsure = np.stack([placement.frame_from_input_mask(row.astype(np.uint8)) for row in unsure]) > 0
        return replace(golden, undecided=unsure), raw
    return golden, raw


def _over_frame(answers: Outputs, placement: FrameTransform) -> Outputs:
    """Detections, with their keypoints if there are any, in the frame's pixels; unused rows stay 0."""
    boxes, scores, labels, *further = answers
    rows = boxes.reshape(-1, boxes.shape[2]).astype(np.float32)
    oriented = rows.shape[1] == 5
    rows = placement.frame_from_input_oriented(rows) if oriented else placement.frame_from_input(rows)
    moved = [rows.reshape(boxes.shape)]
    for points in further:
        xy = placement.frame_from_input_points(points[..., :2])
        moved.append(np.concatenate([xy, points[..., 2:]], -1))
    for values in moved:
        values[scores == 0] = 0
    return (moved[0], scores, labels, *moved[1:])
