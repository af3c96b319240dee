"""Draws results into frames, readable at any frame size."""

from __future__ import annotations

import colorsys
import functools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.contract.image import Frame
from edgevision.contract.results import (
    Classification,
    Detections,
    Instances,
    OrientedBoxes,
    Poses,
    Result,
    Segmentation,
    Translation,
)

FONT = cv2.FONT_HERSHEY_SIMPLEX
SMALLEST_LABEL_PX = 24
"""No text is drawn on frames with a shorter side below this: it would cover them and be unreadable."""

_TINT = 0.5
"""Opacity of a mask's class colour."""
_SMALLEST_NAMED_SHARE = 0.005
LEAST_KEYPOINT = 0.5
"""Keypoints of a lower confidence are not drawn, and neither are their lines."""
_FIXED_BITS = 3
"""Fractional bits of coordinates of rotated lines."""
_FARTHEST_PX = 1 << 14
"""Lines are cut at this distance: OpenCV's coordinates are whole numbers of 32 bits."""

Colour = tuple[int, int, int]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Style:
    """Line and text sizes for a frame."""

    line_px: int
    font_scale: float
    font_px: int
    margin_px: int

    @classmethod
    def of(cls, size_wh: tuple[int, int]) -> Style:
        """Lines of about a 300th, text of about a 45th of the shorter side, with visible minimums."""
        side = min(size_wh)
        return cls(
            line_px=max(1, round(side / 300)),
            font_scale=max(0.4, side / 1000),
            font_px=max(1, round(side / 600)),
            margin_px=max(1, round(side / 240)),
        )


def draw_result(frame_bgr: Frame, result: Result, *, top: int = 3, ids: Ids | None = None) -> None:
    """Draw into the frame, in place: boxes with their identities if they have any, masks, or the `top` best classes.

    A `Translation` is an image of its own and is not drawn: `side_by_side` shows both.
    """
    if isinstance(result, Translation):
        return
    if isinstance(result, Classification):
        draw_classification(frame_bgr, result, top=top)
    elif isinstance(result, Segmentation):
        draw_segmentation(frame_bgr, result)
    else:
        if isinstance(result, Instances):
            draw_masks(frame_bgr, result)
        draw_detections(frame_bgr, result, ids=ids)
        if isinstance(result, Poses):
            draw_poses(frame_bgr, result)


def side_by_side(frame_bgr: Frame, image_bgr: Frame, width: int) -> Frame:
    """The frame at the left and the image that was made from it at the right, together at most `width` pixels wide.

    Both have the image's aspect ratio; neither is enlarged beyond the image's size.
    """
    height, full = image_bgr.shape[:2]
    half = max(min(width // 2, full), 1)
    size_wh = (half, max(round(height * half / full), 1))
    halves = [
        cv2.resize(one, size_wh, interpolation=cv2.INTER_AREA if one.shape[1] > half else cv2.INTER_CUBIC)
        for one in (frame_bgr, image_bgr)
    ]
    return np.asarray(np.hstack(halves), np.uint8)


def draw_detections(frame_bgr: Frame, detections: Detections, *, ids: Ids | None = None) -> None:
    """Draw into the frame, in place: each box in its class's colour, with name and score, or identity and name.

    Weak detections come first, so that strong ones are on top; labels come after all boxes, inside the frame.
    """
    style = Style.of((frame_bgr.shape[1], frame_bgr.shape[0]))
    corners = [tuple(round(float(value)) for value in box) for box in detections.boxes]
    anchors = [corner[:2] for corner in corners]
    if isinstance(detections, OrientedBoxes):
        highest = (points[points[:, 1].argmin()] for points in np.nan_to_num(detections.corners))
        anchors = [tuple(round(float(value)) for value in point) for point in highest]
    order = range(len(detections) - 1, -1, -1)
    for row in order:
        x1, y1, x2, y2 = corners[row]
        colour = class_colour(int(detections.labels[row]))
        if isinstance(detections, OrientedBoxes):
            outline = _fixed_point(detections[row].corners[0])
            cv2.polylines(frame_bgr, [outline], True, colour, style.line_px, cv2.LINE_AA, _FIXED_BITS)
        else:
            cv2.rectangle(frame_bgr, (x1, y1), (x2 - 1, y2 - 1), colour, style.line_px, cv2.LINE_AA)
    for row in order:
        label = int(detections.labels[row])
        name = detections.class_name(label)
        tracked = ids is not None and ids[row] >= 0
        text = f"{ids[row]} {name}" if tracked and ids is not None else f"{name} {detections.scores[row]:.2f}"
        draw_label(frame_bgr, text, anchors[row], class_colour(label), style)


def draw_classification(frame_bgr: Frame, classification: Classification, *, top: int = 3) -> None:
    """Draw into the frame, in place: the best classes and their scores, at the upper left."""
    style = Style.of((frame_bgr.shape[1], frame_bgr.shape[0]))
    bottom = 0
    for label, score in classification.top(top):
        text = f"{classification.class_name(label)} {score:.2f}"
        bottom += label_wh(text, style)[1]
        draw_label(frame_bgr, text, (0, bottom), class_colour(label), style)


def draw_segmentation(frame_bgr: Frame, segmentation: Segmentation) -> None:
    """Draw into the frame, in place: each pixel tinted by its class, with the names of visible classes."""
    tint = cv2.applyColorMap(segmentation.mask, _colour_table())
    cv2.addWeighted(frame_bgr, 1 - _TINT, tint, _TINT, 0, dst=frame_bgr)
    style = Style.of((frame_bgr.shape[1], frame_bgr.shape[0]))
    bottom = 0
    for label, share in segmentation.shares():
        if share < _SMALLEST_NAMED_SHARE:
            continue
        text = f"{segmentation.class_name(label)} {100 * share:.0f}%"
        bottom += label_wh(text, style)[1]
        draw_label(frame_bgr, text, (0, bottom), class_colour(label), style)


def draw_masks(frame_bgr: Frame, instances: Instances) -> None:
    """Draw into the frame, in place: each object's pixels tinted by its class, strong ones last."""
    for row in range(len(instances) - 1, -1, -1):
        mask = instances.masks[row]
        height, width = mask.pixels.shape
        part = frame_bgr[mask.top : mask.top + height, mask.left : mask.left + width]
        colour = np.array(class_colour(int(instances.labels[row])))
        inside = mask.pixels[: part.shape[0], : part.shape[1]]
        part[inside] = (part[inside] * (1 - _TINT) + colour * _TINT).astype(np.uint8)


def draw_poses(frame_bgr: Frame, poses: Poses) -> None:
    """Draw into the frame, in place: the skeleton of each pose, or its points if it has none; strong ones last.

    Each line and point has its own colour. Keypoints below `LEAST_KEYPOINT` are left out.
    """
    style = Style.of((frame_bgr.shape[1], frame_bgr.shape[0]))
    for row in range(len(poses) - 1, -1, -1):
        points = poses.keypoints[row]
        seen = points[:, 2] >= LEAST_KEYPOINT
        fixed = _fixed_point(points[:, :2])
        for number, (start, end) in enumerate(poses.skeleton):
            if seen[start] and seen[end]:
                line = [fixed[[start, end]]]
                cv2.polylines(
                    frame_bgr, line, False, class_colour(number), style.line_px, cv2.LINE_AA, _FIXED_BITS
                )
        # Points of small objects are smaller: they would cover each other.
        side = float(min(poses.boxes[row, 2:] - poses.boxes[row, :2]))
        radius = round(min(max(side / 16, style.line_px), 2 * style.line_px) * (1 << _FIXED_BITS))
        for index in np.flatnonzero(seen):
            centre = (int(fixed[index, 0]), int(fixed[index, 1]))
            colour = class_colour(int(index))
            cv2.circle(frame_bgr, centre, radius, colour, cv2.FILLED, cv2.LINE_AA, _FIXED_BITS)


def _fixed_point(points: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Points ``[N,2]`` as OpenCV takes them with `_FIXED_BITS`; the centre of the first pixel is 0 there."""
    limited = np.nan_to_num(points - 0.5).clip(-_FARTHEST_PX, _FARTHEST_PX)
    return np.asarray(np.round(limited * (1 << _FIXED_BITS)), np.int32)


def draw_label(
    frame_bgr: Frame, text: str, anchor_xy: tuple[int, ...], colour: Colour, style: Style
) -> tuple[int, int, int, int] | None:
    """Draw into the frame, in place: text on a filled box at `anchor_xy`, or as close as the frame allows.

    Returns the box xyxy. Text that is too wide is drawn smaller; on frames too small for text nothing is drawn: None.
    """
    height, width = frame_bgr.shape[:2]
    if min(height, width) < SMALLEST_LABEL_PX:
        return None
    box_w, box_h = label_wh(text, style)
    if box_w > width:
        style = Style(style.line_px, style.font_scale * width / box_w * 0.98, 1, style.margin_px)
        box_w, box_h = label_wh(text, style)
    left = min(max(anchor_xy[0], 0), max(width - box_w, 0))
    top = min(max(anchor_xy[1] - box_h, 0), max(height - box_h, 0))
    right, bottom = min(left + box_w, width), min(top + box_h, height)
    cv2.rectangle(frame_bgr, (left, top), (right - 1, bottom - 1), colour, cv2.FILLED)
    baseline = cv2.getTextSize(text, FONT, style.font_scale, style.font_px)[1]
    origin = (left + style.margin_px, top + box_h - style.margin_px - baseline)
    cv2.putText(
        frame_bgr, text, origin, FONT, style.font_scale, text_colour(colour), style.font_px, cv2.LINE_AA
    )
    return left, top, right, bottom


def label_wh(text: str, style: Style) -> tuple[int, int]:
    """Width and height of a label with its margins."""
    (text_w, text_h), baseline = cv2.getTextSize(text, FONT, style.font_scale, style.font_px)
    return text_w + 2 * style.margin_px, text_h + baseline + 2 * style.margin_px


@functools.lru_cache(maxsize=256)  # labels are few, but the number of identities is unlimited
def class_colour(label: int) -> Colour:
    """BGR, constant for each class: hues by the golden ratio, so that neighbours differ most."""
    hue = (0.57 + label * 0.618033988749895) % 1.0
    saturation = (0.85, 0.6, 1.0)[label % 3]
    value = (1.0, 0.95, 0.8)[label // 3 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)


@functools.cache
def _colour_table() -> npt.NDArray[np.uint8]:
    """The colours of all labels of a mask, uint8 ``[256,1,3]``."""
    return np.array([[class_colour(label)] for label in range(256)], np.uint8)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever is more readable: by the luma weights of ITU-R BT.601."""
    blue, green, red = background
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 128 else (255, 255, 255)
