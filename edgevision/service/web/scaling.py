"""Scaling of a frame with its result, so that lines and text are drawn at the final size."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from edgevision.contract.image import Frame
from edgevision.contract.results import (
    Classification,
    Instances,
    Mask,
    OrientedBoxes,
    Poses,
    Result,
    Segmentation,
    Translation,
)
from edgevision.contract.transform import FrameTransform
from edgevision.sinks.frame_result import FrameResult

Size = tuple[int, int]


def scaled_to_width(processed: FrameResult, width: int) -> FrameResult:
    """The result with an image of at most that width, which is a new array; never larger than the frame."""
    before_wh = processed.frame.size_wh
    image_bgr = processed.frame.image_bgr
    if before_wh[0] <= width:
        return replace(processed, frame=processed.frame.with_image(image_bgr.copy()))
    after_wh = (width, max(round(before_wh[1] * width / before_wh[0]), 1))
    return replace(
        processed,
        frame=processed.frame.with_image(_shrunk(image_bgr, after_wh)),
        result=_scaled(processed.result, before_wh, after_wh),
    )


def _shrunk(image_bgr: Frame, after_wh: Size) -> Frame:
    """Scale by means over whole pixels first, then linearly.

    This takes a fifth of the time of means over parts of pixels (0.9 against 4.7 ms from 1280 to 960) and is nearly as
    smooth.
    """
    height, width = image_bgr.shape[:2]
    factor = min(width // after_wh[0], height // after_wh[1])
    if factor > 1:
        size_wh = (width // factor, height // factor)
        image_bgr = np.asarray(cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    if (image_bgr.shape[1], image_bgr.shape[0]) != after_wh:
        image_bgr = np.asarray(cv2.resize(image_bgr, after_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
    return image_bgr


def _scaled(result: Result, before_wh: Size, after_wh: Size) -> Result:
    if isinstance(result, Classification | Translation):
        return result
    if isinstance(result, Segmentation):
        mask = cv2.resize(result.mask, after_wh, interpolation=cv2.INTER_NEAREST)
        return Segmentation(np.asarray(mask, np.uint8), result.classes)
    factor = (after_wh[0] / before_wh[0], after_wh[1] / before_wh[1])
    boxes = (result.boxes * np.array(factor * 2)).astype(np.float32)
    if isinstance(result, Instances):
        masks = tuple(_scaled_mask(mask, factor) for mask in result.masks)
        return replace(result, boxes=boxes, masks=masks)
    place = FrameTransform(after_wh, (1 / factor[0], 1 / factor[1]), (0.0, 0.0))
    if isinstance(result, Poses):
        points = result.keypoints.copy()
        points[:, :, :2] = place.frame_from_input_points(points[:, :, :2])
        return replace(result, boxes=boxes, keypoints=points)
    if isinstance(result, OrientedBoxes):
        oriented = place.frame_from_input_oriented(result.oriented)
        return replace(result, boxes=boxes, oriented=oriented)
    return replace(result, boxes=boxes)


def _scaled_mask(mask: Mask, factor: tuple[float, float]) -> Mask:
    """Scale a mask by nearest neighbour, because its pixels are boolean."""
    height, width = mask.pixels.shape
    left, top = round(mask.left * factor[0]), round(mask.top * factor[1])
    if not mask.pixels.size:
        return Mask(left, top, mask.pixels)
    right = max(round((mask.left + width) * factor[0]), left + 1)
    bottom = max(round((mask.top + height) * factor[1]), top + 1)
    pixels = cv2.resize(
        mask.pixels.view(np.uint8), (right - left, bottom - top), interpolation=cv2.INTER_NEAREST
    )
    return Mask(left, top, np.asarray(pixels, np.bool_))
