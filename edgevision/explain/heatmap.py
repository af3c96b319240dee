"""Draws an explanation: a heat map over the frame, the explained box, and a colour scale."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgevision.contract.image import Frame
from edgevision.drawing.annotate import FONT, Style, draw_label
from edgevision.errors import UsageError
from edgevision.explain.maps import Explanation
from edgevision.sources.image_files import write_image

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

READABLE_PX = 640
_COLD = 0.55
"""Brightness of the frame where there is no heat; it becomes grey, so that all colour is heat."""
_STRONGEST = 0.8
"""Opacity of the heat's colour at its maximum."""
_INK = (235, 235, 235)
_BOX = (255, 255, 255)


def draw_explanation(frame_bgr: Frame, explanation: Explanation) -> Frame:
    """A new image: the frame with its heat and the target's box, and a strip with the scale below it.

    Frames much smaller than `READABLE_PX` are enlarged by a whole factor. Only heat in favour of the target is
    coloured; the scale ends at the maximum, in units of score.
    """
    greatest = max(float(explanation.heat.max()), 0.0)
    factor = max(1, round(READABLE_PX / max(frame_bgr.shape[:2])))
    enlarged = cv2.resize(frame_bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    heat = cv2.resize(explanation.heat, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    share = np.clip(heat / greatest, 0, 1) if greatest > 0 else np.zeros_like(heat)
    grey = cv2.cvtColor(cv2.cvtColor(enlarged, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    colours = cv2.applyColorMap(np.rint(share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    weight = (share * _STRONGEST).astype(np.float32)[..., None]
    picture = np.rint(grey * _COLD * (1 - weight) + colours * weight).astype(np.uint8)
    style = Style.of((picture.shape[1], picture.shape[0]))
    target = explanation.target
    anchor = (0, 0)
    if explanation.box is not None:
        x1, y1, x2, y2 = (round(float(value) * factor) for value in explanation.box)
        anchor = (x1, y1)
        cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), _BOX, style.line_px, cv2.LINE_AA)
    if explanation.target.region is None:
        draw_label(picture, f"{target.name} {target.score:.2f}", anchor, _BOX, style)
    else:
        draw_label(picture, f"{target.name} {100 * target.score:.0f}%", anchor, _BOX, style)
    return np.vstack([picture, _scale(picture.shape[1], greatest, style)])


def write_picture(path: Path, picture_bgr: Frame) -> None:
    """Write an image in the format of its suffix, atomically. Raises `UsageError`, `SinkError`."""
    check_picture_name(path)
    write_image(path, picture_bgr)


def check_picture_name(path: Path) -> None:
    """Raise `UsageError` unless the name is valid for a still image."""
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise UsageError(
            f"output {path} is not an image file name; it must end in {', '.join(PICTURE_SUFFIXES)}"
        )


def _scale(width: int, greatest: float, style: Style) -> Frame:
    """The strip: a bar of all colours between 0 and the greatest heat, and its unit."""
    texts = ("0", f"+{greatest:.2g} score if shown")
    sizes = [cv2.getTextSize(text, FONT, style.font_scale, style.font_px)[0] for text in texts]
    margin = 2 * style.margin_px
    needed = sum(size[0] for size in sizes) + 4 * margin + 8 * style.margin_px
    shrink = min(1.0, width / needed)
    height = max(size[1] for size in sizes) + 2 * margin
    strip = np.zeros((height, width, 3), np.uint8)
    text_y = height - margin
    left, right = (round(size[0] * shrink) for size in sizes)
    bar_x = (margin + left + margin, max(width - margin - right - margin, margin + left + margin + 1))
    ramp = np.linspace(0, 255, bar_x[1] - bar_x[0]).astype(np.uint8)[None].repeat(height - 2 * margin, axis=0)
    bar = strip[margin : height - margin, bar_x[0] : bar_x[1]]
    bar[:] = cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[:, : bar.shape[1]]
    for text, text_x in zip(texts, (margin, bar_x[1] + margin), strict=True):
        font = (FONT, style.font_scale * shrink, _INK, style.font_px, cv2.LINE_AA)
        cv2.putText(strip, text, (text_x, text_y), *font)
    return strip
