"""Augmentation for segmenters: a random crop of an image and its mask, scaled, flipped, recoloured."""

from __future__ import annotations

import cv2
import numpy as np

from edgevision.evaluation.segmentation import VOID, LabelMask
from edgevision.models.plan import SegmenterPlan
from edgevision.train.data.class_augmentation import recolour
from edgevision.train.data.pictures import Picture

_GREY = 114


def draw_masked(
    picture: Picture, mask: LabelMask, plan: SegmenterPlan, rng: np.random.Generator
) -> tuple[Picture, LabelMask]:
    """A square crop, uint8 ``[S,S,3]``, and its labels ``[S,S]``; outside the image labels are void."""
    height, width = mask.shape
    scale = plan.size / max(height, width) * float(np.exp(rng.uniform(*np.log(plan.gain))))
    side = plan.sample
    # Any place within a larger image; any place of a smaller image within the crop.
    left = rng.uniform(0, 1) * (side - width * scale)
    top = rng.uniform(0, 1) * (side - height * scale)
    flip = rng.random() < plan.flip
    sx = -scale if flip else scale
    x0 = left + width * scale if flip else left
    # Half-pixel centres: crop x of image pixel i is x0 + (i + 0.5) * sx - 0.5.
    matrix = np.array([[sx, 0, x0 + sx / 2 - 0.5], [0, scale, top + scale / 2 - 0.5]], np.float64)
    source = cv2.GaussianBlur(picture, (0, 0), 0.5 / scale) if scale < _SKIPS else picture
    image = cv2.warpAffine(source, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=(_GREY,) * 3)
    labels = cv2.warpAffine(mask, matrix, (side, side), flags=cv2.INTER_NEAREST, borderValue=(VOID,))
    drawn = np.asarray(image, np.uint8)
    if plan.colour:
        drawn = recolour(drawn, plan.colour, rng)
    return drawn, np.asarray(labels, np.uint8)


_SKIPS = 0.6
"""Below this scale bilinear sampling would skip pixels: the image is smoothed first."""
