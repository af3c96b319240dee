"""COCO's box metrics of a network in training, on labelled images in memory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pycocotools import mask as mask_codec
from pycocotools.coco import COCO

from edgevision.contract.image import letterbox
from edgevision.contract.nms import greedy_nms
from edgevision.contract.results import Detections
from edgevision.contract.transform import FrameTransform
from edgevision.datasets.boxes import BoxDataset, BoxLabels
from edgevision.evaluation.detection import (
    PROTOCOL_FLOOR,
    PROTOCOL_IOU,
    DetectionAccuracy,
    LabelledImages,
    accuracy_from_detections,
)
from edgevision.train.data.pictures import Picture

CANDIDATES = 300


class BoxValidation:
    """Letterboxes images to `size`, runs the network and NMS, and compares as `edgevision eval` does.

    `decode` maps the network's outputs to candidates ``[B,N,5+C]``: xywh in input pixels, objectness, class scores.
    """

    def __init__(
        self,
        dataset: BoxDataset,
        pictures: tuple[Picture, ...],
        decode: Callable[[torch.Tensor], torch.Tensor],
        *,
        size: int,
        batch_size: int = 16,
    ) -> None:
        self.dataset, self.pictures, self.decode = dataset, pictures, decode
        self.size, self.batch_size = size, batch_size
        self._labelled = labelled_images(dataset, pictures)

    def __call__(self, device: torch.device) -> DetectionAccuracy:
        """Measure; the network must be in evaluation mode."""
        found: list[tuple[int, Detections]] = []
        for start in range(0, len(self.pictures), self.batch_size):
            chunk = self.pictures[start : start + self.batch_size]
            fitted = [letterbox(picture, (self.size, self.size)) for picture in chunk]
            frames = torch.from_numpy(np.stack([frame for frame, _ in fitted])).to(device)
            with torch.inference_mode():
                candidates = self.decode(frames).float().cpu().numpy()
            for offset, (rows, (_, placement)) in enumerate(zip(candidates, fitted, strict=True)):
                found.append((start + offset, _suppressed(rows, placement, self.dataset.classes)))
        return accuracy_from_detections(self._labelled, found)


def decode_maps(
    maps: list[torch.Tensor],
    anchors_px: tuple[tuple[tuple[float, float], ...], ...],
    strides: tuple[int, ...],
) -> torch.Tensor:
    """Candidates ``[B,N,5+C]`` from a YOLOv5 head's logits: xywh in input pixels, the rest in 0..1."""
    rows = []
    for values, anchors, stride in zip(maps, anchors_px, strides, strict=True):
        batch, channels, height, width = values.shape
        each = channels // len(anchors)
        values = (
            values.float().view(batch, len(anchors), each, height, width).permute(0, 1, 3, 4, 2).sigmoid()
        )
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        cell = torch.stack([x, y], 2).to(values)
        xy = (2 * values[..., :2] - 0.5 + cell) * stride
        wh = (2 * values[..., 2:4]) ** 2 * values.new_tensor(anchors)[:, None, None]
        rows.append(torch.cat([xy, wh, values[..., 4:]], 4).reshape(batch, -1, each))
    return torch.cat(rows, 1)


def _suppressed(
    rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    placement: FrameTransform,
    classes: tuple[str, ...],
) -> Detections:
    """The best (box, class) pairs after NMS, in the frame's pixels."""
    scores = rows[:, 4:5] * rows[:, 5:]
    pairs = np.argsort(-scores, axis=None, kind="stable")[:CANDIDATES]
    box, label = np.unravel_index(pairs, scores.shape)
    score = scores[box, label]
    fine = score >= PROTOCOL_FLOOR
    box, score = box[fine], score[fine]
    labels: npt.NDArray[np.int32] = label[fine].astype(np.int32)
    half = rows[box, 2:4] / 2
    xyxy = np.concatenate([rows[box, :2] - half, rows[box, :2] + half], 1)
    keep = greedy_nms(xyxy, score, labels, PROTOCOL_IOU)
    return Detections(placement.frame_from_input(xyxy[keep]), score[keep], labels[keep], classes)


def labelled_images(dataset: BoxDataset, pictures: tuple[Picture, ...]) -> LabelledImages:
    """The data set in the format of pycocotools; image ids are positions, category ids labels + 1, in stored pixels.

    If outlines were read they are the segmentation, and areas are theirs.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for place, (picture, boxes) in enumerate(zip(pictures, dataset.boxes, strict=True)):
        height, width = picture.shape[:2]
        images.append({"id": place, "width": width, "height": height, "file_name": dataset.files[place].name})
        for index in range(len(boxes)):
            ids = {"id": len(annotations) + 1, "image_id": place}
            annotations.append(ids | _annotation(boxes, index, (width, height)))
    coco = COCO()
    dataset_of_coco: Any = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(dataset.classes)],
    }
    coco.dataset = dataset_of_coco
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    categories = tuple(range(1, len(dataset.classes) + 1))
    return LabelledImages(coco, dict(enumerate(dataset.files)), categories)


def _annotation(boxes: BoxLabels, index: int, size_wh: tuple[int, int]) -> dict[str, Any]:
    width, height = size_wh
    x0, y0, x1, y1 = (float(value) for value in boxes.xyxy[index] * [width, height, width, height])
    found: dict[str, Any] = {
        "category_id": int(boxes.labels[index]) + 1,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
    }
    if boxes.outlines:
        # The stubs support only integers.
        polygons: Any = [
            [float(v) for v in (points * [width, height]).ravel()] for points in boxes.outlines[index]
        ]
        whole = mask_codec.merge(mask_codec.frPyObjects(polygons, height, width))
        found |= {"segmentation": polygons, "area": float(mask_codec.area(whole))}
    return found
