"""Adds a close-up golden frame, which reveals duplicate boxes whose area does not fit FP16.

An engine that computes NMS in FP16 keeps every duplicate of such a box (its IoU with another is infinity divided by
infinity), but handles small boxes correctly. Without a large box it would pass verification.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime import InferenceSession

from edgevision.contract.nv12 import Nv12Parts, bgr_from_nv12, nv12_from_bgr
from edgevision.contract.rotated import box_areas, overlap_matrix, upright
from edgevision.contract.spec import ModelSpec, NmsSpec
from edgevision.engines.ort_settings import cpu_session
from edgevision.graph.contract import with_candidates
from edgevision.graph.nms import CANDIDATES
from edgevision.quantize.half.caution import LARGEST
from edgevision.verification.comparison import TOLERANCES

Frames = npt.NDArray[np.uint8]
COMPARED = max(tolerance.min_score for tolerance in TOLERANCES.values())
"""Score from which detections of every precision are compared: a weaker duplicate is never noticed."""
FILLS = (0.85, 1.25, 1.7)
"""Shares of the frame's height or width that an object is enlarged to, tried in this order."""
ATTEMPTS = 6
"""Detections to try, best first."""


def with_close_up(graph: onnx.ModelProto, spec: ModelSpec, frames: Frames) -> Frames:
    """The frames, plus a close-up of a detection if none of them has duplicates of a large box.

    Frames are uint8 in the graph's layout. They are returned unchanged if there is no such detection, if the input is
    too small for large boxes, or if the graph's NMS is not ours.
    """
    width, height = spec.frames.size_wh
    ours = any(CANDIDATES[1] in node.output for node in graph.graph.node)
    if spec.nms is None or not ours or width * height <= LARGEST:
        return frames
    session = cpu_session(with_candidates(graph).SerializeToString())
    answers = [_answer(session, spec, frame) for frame in frames]
    if any(_large_duplicates(answer[2:], spec.nms) for answer in answers):
        return frames
    for frame in _close_ups(frames, answers):
        if _large_duplicates(_answer(session, spec, frame)[2:], spec.nms):
            return np.concatenate([frames, frame[None]])
    return frames


def _answer(session: InferenceSession, spec: ModelSpec, frame: Frames) -> list[npt.NDArray[np.float32]]:
    """Boxes and scores of one frame in its own pixels; boxes, scores and labels of the NMS candidates."""
    batch = np.repeat(frame[None], spec.batch.opt, axis=0)
    found = session.run(["boxes", "scores", *CANDIDATES], {"frames": batch})
    return [array[0] for array in found]


def _large_duplicates(candidates: list[npt.NDArray[np.float32]], nms: NmsSpec) -> bool:
    boxes, scores, labels = candidates
    large = (scores >= COMPARED) & (box_areas(boxes) > LARGEST)
    boxes, labels = boxes[large], labels[large]
    overlap = (overlap_matrix(boxes, boxes) > nms.iou_threshold) & (labels[:, None] == labels[None])
    np.fill_diagonal(overlap, False)
    return bool(overlap.any())


def _close_ups(frames: Frames, answers: list[list[npt.NDArray[np.float32]]]) -> Iterator[Frames]:
    found = [
        (float(score), frame, box)
        for frame, (boxes, scores, *_) in zip(frames, answers, strict=True)
        for box, score in zip(upright(boxes), scores, strict=True)
        if score > 0
    ]
    for _, frame, box in sorted(found, key=lambda item: -item[0])[:ATTEMPTS]:
        for fill in FILLS:
            yield _enlarged(frame, box, fill)


def _enlarged(frame: Frames, box: npt.NDArray[np.float32], fill: float) -> Frames:
    """Crop around the box with the frame's aspect ratio, at the frame's size."""
    if frame.ndim == 2:
        return nv12_from_bgr(_enlarged(bgr_from_nv12(frame), box, fill), Nv12Parts.of(frame).colour)
    height, width = frame.shape[:2]
    scale = max((box[2] - box[0]) / width, (box[3] - box[1]) / height, 16 / min(width, height)) / fill
    scale = float(min(scale, 1.0))
    part_w, part_h = round(width * scale), round(height * scale)
    left = int(np.clip((box[0] + box[2] - part_w) / 2, 0, width - part_w))
    top = int(np.clip((box[1] + box[3] - part_h) / 2, 0, height - part_h))
    part = frame[top : top + part_h, left : left + part_w]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
