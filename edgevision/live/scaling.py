"""A frame with its result in another size, so that lines and letters are drawn as large as they will be seen."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from edgevision.processed import Processed
from edgevision.results import Classification, Instances, Mask, Result, Segmentation

Size = tuple[int, int]


def scaled_to_width(processed: Processed, width: int) -> Processed:
    """The same with an image of at most that width, which is a new array; never larger than the frame."""
    before_wh = processed.frame.size_wh
    image_bgr = processed.frame.image_bgr
    if before_wh[0] <= width:
        return replace(processed, frame=replace(processed.frame, image_bgr=image_bgr.copy()))
    after_wh = (width, max(round(before_wh[1] * width / before_wh[0]), 1))
    small = np.asarray(cv2.resize(image_bgr, after_wh, interpolation=cv2.INTER_AREA), np.uint8)
    return replace(
        processed,
        frame=replace(processed.frame, image_bgr=small),
        result=_scaled(processed.result, before_wh, after_wh),
    )


def _scaled(result: Result, before_wh: Size, after_wh: Size) -> Result:
    if isinstance(result, Classification):
        return result
    if isinstance(result, Segmentation):
        mask = cv2.resize(result.mask, after_wh, interpolation=cv2.INTER_NEAREST)
        return Segmentation(np.asarray(mask, np.uint8), result.classes)
    factor = (after_wh[0] / before_wh[0], after_wh[1] / before_wh[1])
    boxes = (result.boxes * np.array(factor * 2)).astype(np.float32)
    if isinstance(result, Instances):
        masks = tuple(_scaled_mask(mask, factor) for mask in result.masks)
        return replace(result, boxes=boxes, masks=masks)
    return replace(result, boxes=boxes)


def _scaled_mask(mask: Mask, factor: tuple[float, float]) -> Mask:
    """Each of its pixels is one of those that were there: a mask has no half ones."""
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
