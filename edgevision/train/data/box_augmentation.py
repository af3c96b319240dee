"""Augmentation for detectors: mosaic, scale and shift, HSV, flips, in numpy and OpenCV.

Every function takes its random generator, so that a sample depends only on its seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.datasets.boxes import BoxLabels
from edgevision.graph.masks import MASK_STRIDE
from edgevision.train.data.outlines import Polygons, mask_from_polygons
from edgevision.train.data.pictures import Picture

PAD = 114
_MIN_SIDE_PX = 2.0
_MIN_VISIBLE = 0.15


@dataclass(frozen=True, slots=True)
class BoxAugmentation:
    """Sampling settings of one training phase."""

    size: int
    """Side of the square sample, in pixels."""
    long_side: int
    """The longest side of an image before the random gain."""
    gain: tuple[float, float] = (0.5, 1.5)
    """Range of the random gain, drawn uniformly in its logarithm."""
    mosaic: float = 1.0
    """Share of samples that are four images around a random point (YOLOv4, arXiv 2004.10934, section 3.3)."""
    flip: float = 0.5
    hsv: tuple[float, float, float] = (0.015, 0.7, 0.4)
    """Random gains of hue, saturation and value: up to these much more or less."""
    stretch: float = 0.1
    """Random change of the aspect ratio, up to this much in its logarithm."""
    grey: float = 0.02
    """Share of samples without colour."""
    masks: bool = False
    """Draw the masks of the objects too, from their outlines."""

    def weakened(self, strength: float) -> BoxAugmentation:
        """Scale all random changes by `strength` in 0..1; at 0 only the place of a smaller image is random."""
        hue, saturation, value = (strength * gain for gain in self.hsv)
        return replace(
            self,
            gain=(self.gain[0] ** strength, self.gain[1] ** strength),
            mosaic=strength * self.mosaic,
            flip=strength * self.flip,
            hsv=(hue, saturation, value),
            stretch=strength * self.stretch,
            grey=strength * self.grey,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Uint8 ``[S,S,3]`` BGR with boxes, float32 ``[N,4]`` xyxy in its pixels, and int64 labels ``[N]``.

    `masks` uint8 ``[N,S/4,S/4]``: the share of each cell that the object covers, of 255; N is 0 where none are drawn.
    """

    image: Picture
    xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    masks: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The visible part of one image: boxes and polygons in the canvas's pixels."""

    xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    polygons: tuple[Polygons, ...] = ()


Source = Callable[[int], tuple[Picture, BoxLabels]]


def draw_sample(
    index: int, source: Source, count: int, plan: BoxAugmentation, rng: np.random.Generator
) -> Sample:
    """Image `index`, alone or in a mosaic with three random others, with random scale, place, colour and flip."""
    canvas = np.full((plan.size, plan.size, 3), PAD, np.uint8)
    if rng.random() < plan.mosaic:
        parts = _mosaic(index, source, count, plan, rng, canvas)
    else:
        parts = [_alone(*source(index), plan, rng, canvas)]
    xyxy = np.concatenate([part.xyxy for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    masks = _masks(parts, plan)
    image = _recolour(canvas, plan, rng)
    if rng.random() < plan.flip:
        image = np.ascontiguousarray(image[:, ::-1])
        xyxy[:, [0, 2]] = plan.size - xyxy[:, [2, 0]]
        masks = np.ascontiguousarray(masks[:, :, ::-1])
    return Sample(image, xyxy, labels, masks)


def _masks(parts: Sequence[_Part], plan: BoxAugmentation) -> npt.NDArray[np.uint8]:
    side = plan.size // MASK_STRIDE
    pairs = [pair for part in parts for pair in zip(part.polygons, part.xyxy, strict=plan.masks)]
    masks = np.zeros((len(pairs), side, side), np.uint8)
    for mask, (polygons, xyxy) in zip(masks, pairs, strict=True):
        mask[:] = mask_from_polygons(polygons, xyxy, (plan.size, plan.size))
    return masks


def _mosaic(
    index: int,
    source: Source,
    count: int,
    plan: BoxAugmentation,
    rng: np.random.Generator,
    canvas: Picture,
) -> list[_Part]:
    """Four images that meet in one point; each lies in its quarter, its inner corner on the point.

    If the point is near an edge or the gain above one, quarters show parts of their images.
    """
    chosen = np.concatenate([[index], rng.integers(0, count, 3)])
    rng.shuffle(chosen)
    corner_x, corner_y = rng.uniform(0.2, 0.8, 2) * plan.size
    parts = []
    for (down, right), which in zip(itertools.product((0, 1), (0, 1)), chosen, strict=True):
        picture, boxes = source(int(which))
        scale_xy = _scale(picture, plan, rng)
        width, height = picture.shape[1] * scale_xy[0], picture.shape[0] * scale_xy[1]
        quarter = (
            round(corner_x) if right else 0,
            round(corner_y) if down else 0,
            plan.size if right else round(corner_x),
            plan.size if down else round(corner_y),
        )
        # An image larger than its quarter is shown from a random place, not always from its corner.
        left = _slide(rng, quarter[0], quarter[2], width, from_low=bool(right))
        top = _slide(rng, quarter[1], quarter[3], height, from_low=bool(down))
        parts.append(_place(picture, boxes, plan, canvas, scale_xy, (left, top), quarter))
    return parts


def _slide(rng: np.random.Generator, low: int, high: int, side: float, *, from_low: bool) -> float:
    room = high - low
    if side > room:
        return low - rng.uniform(0, side - room)
    return float(low) if from_low else high - side


def _alone(
    picture: Picture, boxes: BoxLabels, plan: BoxAugmentation, rng: np.random.Generator, canvas: Picture
) -> _Part:
    """One image at a random place: inside the canvas if it fits, else the canvas inside it."""
    scale_xy = _scale(picture, plan, rng)
    left = rng.uniform(0, 1) * (plan.size - picture.shape[1] * scale_xy[0])
    top = rng.uniform(0, 1) * (plan.size - picture.shape[0] * scale_xy[1])
    return _place(picture, boxes, plan, canvas, scale_xy, (left, top), (0, 0, plan.size, plan.size))


def _scale(picture: Picture, plan: BoxAugmentation, rng: np.random.Generator) -> tuple[float, float]:
    gain = float(np.exp(rng.uniform(*np.log(plan.gain))))
    stretch = float(np.exp(rng.uniform(-plan.stretch, plan.stretch) / 2))
    base = gain * plan.long_side / max(picture.shape[:2])
    return base * stretch, base / stretch


def _place(
    picture: Picture,
    boxes: BoxLabels,
    plan: BoxAugmentation,
    canvas: Picture,
    scale_xy: tuple[float, float],
    offset_xy: tuple[float, float],
    window: tuple[int, int, int, int],
) -> _Part:
    """Draw a scaled image into `window` of the canvas; returns the boxes that remain visible there."""
    height, width = picture.shape[:2]
    left, top = offset_xy
    x0, y0 = max(window[0], round(left)), max(window[1], round(top))
    x1 = min(window[2], round(left + width * scale_xy[0]))
    y1 = min(window[3], round(top + height * scale_xy[1]))
    if x1 <= x0 or y1 <= y0:
        return _Part(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    picture, shrink_xy = _shrunk(picture, scale_xy)
    sx, sy = scale_xy[0] / shrink_xy[0], scale_xy[1] / shrink_xy[1]
    # Half-pixel centres: canvas x of source pixel i is left + (i + 0.5) * sx - 0.5, relative to the window.
    matrix = np.array([[sx, 0, left - x0 + sx / 2 - 0.5], [0, sy, top - y0 + sy / 2 - 0.5]], np.float64)
    canvas[y0:y1, x0:x1] = cv2.warpAffine(
        picture, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    sides_xy = np.array([width * scale_xy[0], height * scale_xy[1]], np.float32)
    corner_xy = np.array([left, top], np.float32)
    full = boxes.xyxy * np.tile(sides_xy, 2) + np.tile(corner_xy, 2)
    seen = full.clip(np.array([x0, y0] * 2), np.array([x1, y1] * 2)).astype(np.float32)
    sides = seen[:, 2:] - seen[:, :2]
    areas = (full[:, 2:] - full[:, :2]).prod(1)
    keep = (sides.min(1) > _MIN_SIDE_PX) & (sides.prod(1) > _MIN_VISIBLE * areas)
    if not plan.masks:
        return _Part(seen[keep], boxes.labels[keep])
    outlines = (outline for outline, kept in zip(boxes.outlines, keep, strict=True) if kept)
    polygons = tuple([points * sides_xy + corner_xy for points in outline] for outline in outlines)
    return _Part(seen[keep], boxes.labels[keep], polygons)


def _shrunk(picture: Picture, scale_xy: tuple[float, float]) -> tuple[Picture, tuple[float, float]]:
    """Average the image down first if bilinear sampling would skip pixels."""
    if max(scale_xy) >= 0.6:
        return picture, (1.0, 1.0)
    height, width = picture.shape[:2]
    size_wh = (max(1, round(width * scale_xy[0])), max(1, round(height * scale_xy[1])))
    small = np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    return small, (size_wh[0] / width, size_wh[1] / height)


def _recolour(image: Picture, plan: BoxAugmentation, rng: np.random.Generator) -> Picture:
    """Random gains of hue, saturation and value with look-up tables."""
    gains = 1 + rng.uniform(-1, 1, 3) * plan.hsv
    if rng.random() < plan.grey:
        gains[1] = 0.0
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    levels = np.arange(256, dtype=np.float64)
    # The hue's gain rotates the circle of 180 half-degrees by a share of it.
    turned = (levels + (gains[0] - 1) * 180) % 180
    tables = (turned, (levels * gains[1]).clip(0, 255), (levels * gains[2]).clip(0, 255))
    channels = [cv2.LUT(c, t.astype(np.uint8)) for c, t in zip((hue, saturation, value), tables, strict=True)]
    return np.asarray(cv2.cvtColor(cv2.merge(channels), cv2.COLOR_HSV2BGR), np.uint8)
