"""Augmentation for classifiers, in numpy and OpenCV: random crop, flip, colour, erasing."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.models.plan import ClassifierPlan
from edgevision.train.data.pictures import Picture

_GREY = 114

Matrix = npt.NDArray[np.float64]
"""``[2,3]``: a map of pixel positions (x, y, 1) to pixel positions."""


def draw_picture(picture: Picture, plan: ClassifierPlan, rng: np.random.Generator) -> Picture:
    """A random crop of the image, uint8 ``[S,S,3]``, randomly flipped, recoloured and partly erased."""
    image = _crop(picture, plan, rng)
    if rng.random() < plan.flip:
        image = image[:, ::-1]
    if plan.colour:
        image = recolour(image, plan.colour, rng)
    image = np.ascontiguousarray(image)
    if rng.random() < plan.erase:
        side = max(1, round(plan.size * rng.uniform(0.15, 0.4)))
        x, y = rng.integers(0, max(1, plan.size - side + 1), 2)
        image[y : y + side, x : x + side] = _GREY
    return image


def _crop(picture: Picture, plan: ClassifierPlan, rng: np.random.Generator) -> Picture:
    """A rectangle of random area, place and slightly random shape, scaled to the square (arXiv 1409.4842, section 6).

    A small part of it may lie outside, where the border is mirrored, so that images cropped exactly to their object
    move too.
    """
    height, width = picture.shape[:2]
    side = float(np.sqrt(rng.uniform(plan.smallest_crop, 1.0)))
    stretch = float(np.exp(rng.uniform(-0.15, 0.15)))
    crop_w, crop_h = width * side * stretch, height * side / stretch
    margin_x, margin_y = width * 0.06, height * 0.06
    left = rng.uniform(-margin_x, width - crop_w + margin_x) if crop_w < width + 2 * margin_x else 0.0
    top = rng.uniform(-margin_y, height - crop_h + margin_y) if crop_h < height + 2 * margin_y else 0.0
    sx, sy = plan.size / crop_w, plan.size / crop_h
    if max(sx, sy) < 0.5:
        inside = picture[max(0, int(top)) : int(top + crop_h) + 1, max(0, int(left)) : int(left + crop_w) + 1]
        return np.asarray(cv2.resize(inside, (plan.size, plan.size), interpolation=cv2.INTER_AREA), np.uint8)
    matrix = np.array([[sx, 0, (0.5 - left) * sx - 0.5], [0, sy, (0.5 - top) * sy - 0.5]], np.float64)
    if plan.turn:
        matrix = _turned(matrix, plan, rng)
    size_wh = (plan.size, plan.size)
    warped = cv2.warpAffine(
        picture, matrix, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(warped, np.uint8)


def _turned(matrix: Matrix, plan: ClassifierPlan, rng: np.random.Generator) -> Matrix:
    """The map into the sample, followed by a random rotation and shear about the sample's centre."""
    angle, shear = np.radians(rng.uniform(-plan.turn, plan.turn, 2))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.array([[1.0, np.tan(shear)], [0.0, 1.0]])
    centre = np.full(2, (plan.size - 1) / 2)
    turned = linear @ matrix
    turned[:, 2] += centre - linear @ centre
    return np.asarray(turned, np.float64)


def recolour(image: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Random gains of brightness, of contrast about the mean, and of saturation about the grey image."""
    brightness, contrast, saturation = np.exp(rng.uniform(-1, 1, 3) * np.log1p(strength))
    values = image.astype(np.float32)
    grey = values.mean(2, keepdims=True)
    values = grey + (values - grey) * saturation
    values = (values - values.mean()) * contrast + values.mean()
    return np.asarray((values * brightness).clip(0, 255), np.uint8)
