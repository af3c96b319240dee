"""Reference answers of an adopted file: runs it unchanged, with pre- and post-processing in numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.contract.image import LetterboxGeometry
from edgevision.contract.results import Outputs
from edgevision.contract.spec import NmsSpec
from edgevision.contract.transform import FrameTransform
from edgevision.engines.ort_settings import cpu_session
from edgevision.errors import GraphError, first_line
from edgevision.graph.adopt import Adoption
from edgevision.graph.foreign.images import images_from_raw
from edgevision.graph.foreign.plain_instances import MaskPlace, PlainMaskHead, plain_masks
from edgevision.graph.foreign.plugins import without_plugin
from edgevision.graph.foreign.selection import best_pairs_plain
from edgevision.graph.heads.head import DetectionHead, PoseHead
from edgevision.graph.heads.segmenter import SegmenterHead
from edgevision.graph.resample import bilinear_matrix, nv12_pixels, resample_matrices

Array = npt.NDArray[Any]


def source_answers(path: Path, adoption: Adoption, frames: npt.NDArray[np.uint8]) -> Outputs:
    """Answers of the unmodified file at `path`, in the contract's shapes.

    `frames` are of the adopted graph's own size and layout; boxes are in the pixels of those frames.
    No part of the graft is used: pre-processing, decoding and NMS run in numpy. Raises `GraphError` if ONNX Runtime
    cannot run the file, or if its outputs are not plausible for the head.
    """
    return answers_from_raw(source_raw(path, adoption, network_pixels(frames, adoption)), adoption)


def source_raw(path: Path, adoption: Adoption, tensors: npt.NDArray[np.float32]) -> list[list[Array]]:
    """Raw outputs of the unmodified file for tensors of `network_pixels`: for each frame, without the batch."""
    return _run(path, tensors, adoption)


def answers_from_raw(raw: list[list[Array]], adoption: Adoption) -> Outputs:
    """The answers of `source_answers` from the file's raw outputs."""
    if adoption.segmenter is not None:
        maps = [frame[adoption.segmenter.position] for frame in raw]
        return (_masks(maps, adoption, adoption.segmenter),)
    if adoption.spec.task == "translate":
        stacked = np.stack([frame[0] for frame in raw])
        return (images_from_raw(stacked, adoption.pixels, adoption.spec.provenance.source),)
    head, nms = adoption.head, adoption.spec.nms
    if head is None or nms is None:
        scores = probabilities(np.stack([frame[0].reshape(-1) for frame in raw]))
        return (scores.astype(np.float32),)
    _check_plausible(adoption, head, raw[0])
    placement = frame_placement(adoption)
    rows: list[tuple[Array, ...]] = [detections_from_raw(frame, head, nms, placement) for frame in raw]
    if isinstance(head, PlainMaskHead):
        place = MaskPlace(_mask_wh(adoption), adoption.spec.frames.size_wh, placement)
        masks = [plain_masks(frame, head, nms, place) for frame in raw]
        rows = [(*row, mask) for row, mask in zip(rows, masks, strict=True)]
    return tuple(np.stack(arrays) for arrays in zip(*rows, strict=True))


def _mask_wh(adoption: Adoption) -> tuple[int, int]:
    height, width = adoption.spec.outputs[-1].shape[2:]
    return width, height


def network_pixels(frames: npt.NDArray[np.uint8], adoption: Adoption) -> npt.NDArray[np.float32]:
    """The network's expected input for frames: float32 ``[N,3,h,w]``, computed in float64 without rounding."""
    target = adoption.spec.frames
    if target.layout == "nv12":
        values = nv12_pixels(frames, target, adoption.network_size_wh, adoption.fit)
    else:
        values = _fitted(frames.astype(np.float64), adoption)
    pixels = adoption.pixels
    if pixels.order == "rgb":
        values = values[..., ::-1]
    values = (values * pixels.scale - pixels.mean) / pixels.std
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32)


def _fitted(values: Array, adoption: Adoption) -> Array:
    """BGR frames ``[N,H,W,3]`` at the network's size."""
    frame_wh, (width, height) = (values.shape[2], values.shape[1]), adoption.network_size_wh
    if frame_wh != adoption.network_size_wh and adoption.fit == "letterbox":
        geometry = LetterboxGeometry.of(frame_wh, adoption.network_size_wh)
        (left, top), (inner_w, inner_h) = geometry.pad_xy, geometry.content_wh
        rows, columns = bilinear_matrix(frame_wh[1], inner_h), bilinear_matrix(frame_wh[0], inner_w)
        canvas = np.full((len(values), height, width, 3), float(adoption.spec.frames.pad_value))
        canvas[:, top : top + inner_h, left : left + inner_w] = _scaled(values, rows, columns)
        return canvas
    if frame_wh != adoption.network_size_wh:
        crop = adoption.spec.frames.crop_fraction
        return _scaled(values, *resample_matrices(frame_wh, adoption.network_size_wh, adoption.fit, crop))
    return values


def detections_from_raw(
    raw: list[Array], head: DetectionHead, nms: NmsSpec, placement: FrameTransform | None
) -> tuple[Array, ...]:
    """Convert one frame's raw outputs to boxes ``[K,4]``, scores ``[K]`` and labels ``[K]`` with greedy NMS.

    A head for poses adds keypoints ``[K,P,3]``; oriented boxes are ``[K,5]``. With a `placement` they are moved to the
    frame's pixels, and upright boxes clipped at its edges.
    """
    selected = best_pairs_plain(raw, head, nms)
    candidates, scores, labels = selected.boxes, selected.scores, selected.labels
    count = nms.max_detections
    candidates, scores, labels = candidates[:count], scores[:count], labels[:count]
    if placement is not None:
        oriented = candidates.shape[1] == 5
        to_frame = placement.frame_from_input_oriented if oriented else placement.frame_from_input
        candidates = to_frame(candidates)
    found = [candidates.astype(np.float32), scores.astype(np.float32), labels.astype(np.int32)]
    if isinstance(head, PoseHead):
        points = head.plain_keypoints(raw)[selected.rows[:count]]
        if placement is not None:
            points[:, :, :2] = placement.frame_from_input_points(points[:, :, :2])
        found.append(points.astype(np.float32))
    return tuple(_filled(array, nms.max_detections) for array in found)


def _filled(array: Array, rows: int) -> Array:
    """The array with rows of zeros at its end."""
    return np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])


def _check_plausible(adoption: Adoption, head: DetectionHead, raw: list[Array]) -> None:
    """Raise `GraphError` if values are implausible although shapes match: graph and `plain` would both be wrong.

    A detector's cells cover the image, and so do the centres of its boxes, found or not. If all are in a corner, they
    are offsets or fractions. Scores outside 0..1 are logits.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of exp() on pixels, of powers: signs of another head
        boxes, scores = head.plain(raw)
    where = (
        f"{adoption.spec.provenance.source} does not fit {adoption.spec.provenance.recipe.split(': ')[-1]}"
    )
    if scores.size and not -1e-3 <= scores.min() <= scores.max() <= 1 + 1e-3:
        raise GraphError(
            f"{where}: scores are {scores.min():.3g} to {scores.max():.3g}, expected 0 to 1; they may be logits or"
            " belong to another head"
        )
    if head.suppressed:
        # Few boxes, anywhere in the frame: only a size larger than fractions can be required.
        sure = boxes[scores.max(axis=1, initial=0) > 0.05][:, :4]
        small = len(sure) > 0 and float(np.abs(sure).max()) <= 2
        if boxes.shape[1] == 4:
            _check_finished(where, sure, adoption.network_size_wh)
    else:
        centres = boxes[:, :2] if boxes.shape[1] == 5 else (boxes[:, :2] + boxes[:, 2:]) / 2
        low, high = np.percentile(centres, (2, 98), axis=0)
        small = not bool((high - low > 0.4 * np.array(adoption.network_size_wh)).all())
    _check_further(where, head, boxes, raw)
    if small or not np.isfinite(boxes).all():
        raise GraphError(
            f"{where}: decoded boxes are between {boxes.min():.3g} and {boxes.max():.3g} and do not cover the image of"
            f" {adoption.network_size_wh[0]}x{adoption.network_size_wh[1]} pixels; try another head"
        )


def _check_further(where: str, head: DetectionHead, boxes: Array, raw: list[Array]) -> None:
    """Raise `GraphError` for angles that are no radians, and for keypoints that are not in pixels."""
    if boxes.shape[1] == 5 and len(boxes) and not np.abs(boxes[:, 4]).max() <= 2 * np.pi:
        raise GraphError(
            f"{where}: angles are {boxes[:, 4].min():.3g} to {boxes[:, 4].max():.3g}, expected radians; they may be"
            " degrees or belong to another head"
        )
    if not isinstance(head, PoseHead):
        return
    points = head.plain_keypoints(raw)
    if len(points) and not (np.isfinite(points).all() and np.abs(points[:, :, :2]).max() > 2):
        raise GraphError(
            f"{where}: keypoints are between {points[:, :, :2].min():.3g} and {points[:, :, :2].max():.3g}, expected"
            " pixels; try another head"
        )


def _check_finished(where: str, boxes: Array, size_wh: tuple[int, int]) -> None:
    """Raise `GraphError` if most finished boxes have negative sides, or lie far outside of the image.

    Pixels read as fractions, and corners read as centres and sizes, give such boxes.
    """
    if not len(boxes):
        return
    negative = float((boxes[:, 2:] < boxes[:, :2]).any(axis=1).mean())
    if negative > 0.5 or float(np.median(np.abs(boxes))) > 8 * max(size_wh):
        raise GraphError(
            f"{where}: {negative:.0%} of the boxes have a negative side, and their coordinates are between"
            f" {boxes.min():.3g} and {boxes.max():.3g} in an image of {size_wh[0]}x{size_wh[1]} pixels; try another"
            " head"
        )


def _masks(maps: list[Array], adoption: Adoption, head: SegmenterHead) -> npt.NDArray[np.uint8]:
    """Masks uint8 ``[N,H,W]`` at the size of the frames."""
    (width, height), (map_w, map_h) = adoption.network_size_wh, head.map_wh
    rows, columns = bilinear_matrix(map_h, height), bilinear_matrix(map_w, width)
    masks = [head.plain(array, rows, columns) for array in maps]
    placement = frame_placement(adoption)
    return np.stack(masks if placement is None else [placement.frame_from_input_mask(m) for m in masks])


def frame_placement(adoption: Adoption) -> FrameTransform | None:
    """Where frames lie in the network's input, if the graph scales them."""
    frame_wh, network_wh = adoption.spec.frames.size_wh, adoption.network_size_wh
    if frame_wh == network_wh:
        return None
    if adoption.fit == "letterbox":
        return LetterboxGeometry.of(frame_wh, network_wh).placement
    return FrameTransform(frame_wh, (network_wh[0] / frame_wh[0], network_wh[1] / frame_wh[1]), (0.0, 0.0))


def _scaled(values: Array, rows: Array, columns: Array) -> Array:
    scaled: Array = np.einsum("yh,nhwc,xw->nyxc", rows, values, columns, optimize=True)
    return scaled


def probabilities(scores: Array) -> npt.NDArray[np.float64]:
    """Scores ``[N,C]`` as probabilities: unchanged, or by Softmax if they are logits."""
    values = scores.astype(np.float64)
    if values.min() < 0 or not np.allclose(values.sum(axis=1), 1, atol=1e-3):
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    return values


def _run(path: Path, tensors: npt.NDArray[np.float32], adoption: Adoption) -> list[list[Array]]:
    """Raw outputs of the unmodified file for each frame, without the batch, in batches of the adopted graph's size.

    A plugin of TensorRT is cut: its inputs are then the outputs.
    """
    batch, inputs = adoption.spec.batch.opt, adoption.inputs
    answers: list[list[Array]] = []
    try:
        file = str(path) if adoption.plugin is None else without_plugin(path).SerializeToString()
        session = cpu_session(file)
        value = next(value for value in session.get_inputs() if value.name == inputs.image)
        dtype = np.float16 if value.type == "tensor(float16)" else np.float32
        for start in range(0, len(tensors), batch):
            rows = np.arange(start, start + batch).clip(max=len(tensors) - 1)
            count = min(batch, len(tensors) - start)
            feeds = inputs.feeds(tensors[rows].astype(dtype), adoption.network_size_wh)
            outputs = session.run(None, feeds)
            if adoption.packed:
                answers.append(outputs)
            else:
                answers += [[output[row] for output in outputs] for row in range(count)]
    except Exception as error:  # ONNX Runtime's own errors share no base class
        reason = first_line(error)
        raise GraphError(f"ONNX Runtime cannot run {path.name} as it is: {reason}") from error
    return answers
