"""Pre- and post-processing of YOLO networks as many scripts do it: letterbox, best class of each box, NMS by OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.peers.runners.job import Job, Meter, Row

SIZE = 640
GREY = 114
Floats = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]
Boxes = tuple[Floats, Floats, npt.NDArray[np.int64]]
"""Boxes float32 `[N,4]` xyxy in pixels of the image, scores `[N]`, class numbers `[N]`."""


def letterbox(image_bgr: Frame) -> tuple[Frame, float, tuple[int, int]]:
    """The image in a grey square, the factor of its size, and the padding at the left and at the top."""
    height, width = image_bgr.shape[:2]
    factor = min(SIZE / height, SIZE / width)
    new_wh = round(width * factor), round(height * factor)
    left, top = (SIZE - new_wh[0]) // 2, (SIZE - new_wh[1]) // 2
    resized = cv2.resize(image_bgr, new_wh, interpolation=cv2.INTER_LINEAR)
    right, bottom = SIZE - new_wh[0] - left, SIZE - new_wh[1] - top
    value = (GREY, GREY, GREY)
    padded = cv2.copyMakeBorder(resized, top, bottom, left, right, cv2.BORDER_CONSTANT, value=value)
    return np.asarray(padded, np.uint8), factor, (left, top)


def blob_of(square_bgr: Frame) -> Floats:
    """Float32 `[1,3,H,W]`, RGB from 0 to 1."""
    planes = square_bgr[:, :, ::-1].transpose(2, 0, 1)
    return np.ascontiguousarray(planes, np.float32)[None] / np.float32(255)


def candidates(output: Floats, confidence: float) -> Boxes:
    """Boxes of the raw output, before NMS, in pixels of the square.

    Rows of YOLOv5 are `[N,5+C]` with objectness; columns of YOLOv8 and later are `[4+C,N]`.
    """
    rows = output[0]
    if rows.shape[0] < rows.shape[1]:
        rows = rows.T
        scores = rows[:, 4:]
    else:
        rows = rows[rows[:, 4] > confidence]
        scores = rows[:, 5:] * rows[:, 4:5]
    labels = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), labels]
    kept = best > confidence
    centre, half = rows[kept, :2], rows[kept, 2:4] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return boxes, best[kept], labels[kept]


def after_nms(found: Boxes, job: Job) -> Boxes:
    """Boxes that OpenCV's NMS keeps, class by class."""
    boxes, scores, labels = found
    if not len(boxes):
        return found
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), scores.tolist(), labels.tolist(), job.confidence, job.iou)
    index = np.asarray(kept, np.int64).reshape(-1)[: job.most]
    return boxes[index], scores[index], labels[index]


def in_image(found: Boxes, factor: float, padding: tuple[int, int]) -> Boxes:
    """The boxes in pixels of the image."""
    boxes, scores, labels = found
    return (boxes - np.array([*padding, *padding], np.float32)) / np.float32(factor), scores, labels


Detector = Callable[[Frame], Boxes]


def video_frames(job: Job) -> Iterator[Frame]:
    """Frames of the video, by OpenCV."""
    capture = cv2.VideoCapture(str(job.source))
    while True:
        good, frame = capture.read()
        if not good:
            return
        yield np.asarray(frame, np.uint8)


def run(job: Job, detect: Detector, frames: Callable[[Job], Iterator[Any]] = video_frames) -> Meter:
    """Run the detector on the video or the images."""
    meter = Meter(job)
    if job.images:
        for file in job.files():
            meter.add_rows(file, rows_of(detect(np.asarray(cv2.imread(file), np.uint8))))
        return meter
    for frame in frames(job):
        if meter.add(len(detect(frame)[1])):
            break
    return meter


def rows_of(found: Boxes) -> list[Row]:
    """As lists."""
    boxes, scores, labels = (part.tolist() for part in found)
    return [(*box, score, label) for box, score, label in zip(boxes, scores, labels, strict=True)]
