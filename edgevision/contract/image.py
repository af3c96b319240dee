"""Pre-processing on the host: resizing camera frames to a model's input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.contract.nv12 import ContentArea, Nv12, Nv12Parts, write_bgr, write_scaled
from edgevision.contract.pixels import FramePixels, YuvPlanes, fastest_equal
from edgevision.contract.spec import LARGEST_PIXELS, FrameInput
from edgevision.contract.transform import FrameTransform
from edgevision.errors import UsageError

Frame = npt.NDArray[np.uint8]
"""uint8 ``[H,W,3]``, BGR."""
Pixels = npt.NDArray[Any]
"""``[H,W,3]``, BGR, of any dtype."""


@dataclass(frozen=True, slots=True)
class LetterboxGeometry:
    """Placement of a frame of `frame_wh`, centred and with its aspect ratio, on a canvas of `canvas_wh`."""

    frame_wh: tuple[int, int]
    canvas_wh: tuple[int, int]
    content_wh: tuple[int, int]
    pad_xy: tuple[int, int]
    """Padding left of and above the content in pixels; an odd remainder goes to the right and below."""

    @classmethod
    def of(cls, frame_wh: tuple[int, int], canvas_wh: tuple[int, int]) -> LetterboxGeometry:
        """Scale by the smaller of the two ratios, with sides rounded to whole pixels, at least one."""
        ratio = min(canvas_wh[0] / frame_wh[0], canvas_wh[1] / frame_wh[1])
        content_w = min(canvas_wh[0], max(1, round(frame_wh[0] * ratio)))
        content_h = min(canvas_wh[1], max(1, round(frame_wh[1] * ratio)))
        pad_xy = ((canvas_wh[0] - content_w) // 2, (canvas_wh[1] - content_h) // 2)
        return cls(frame_wh, canvas_wh, (content_w, content_h), pad_xy)

    @property
    def placement(self) -> FrameTransform:
        """The affine map from frame to canvas; the two scales differ by the rounding of the content's sides."""
        scale_xy = (self.content_wh[0] / self.frame_wh[0], self.content_wh[1] / self.frame_wh[1])
        return FrameTransform(self.frame_wh, scale_xy, (float(self.pad_xy[0]), float(self.pad_xy[1])))


def letterbox(
    frame_bgr: Pixels, size_wh: tuple[int, int], *, pad_value: int = 114, out: Pixels | None = None
) -> tuple[Pixels, FrameTransform]:
    """Scale a frame (bilinear, half-pixel centres) onto a padded canvas of `size_wh`.

    `out`, ``[H,W,3]`` of that size and of the frame's dtype, is written to and returned if given; it may be one row of
    a batch.
    """
    geometry = LetterboxGeometry.of((frame_bgr.shape[1], frame_bgr.shape[0]), size_wh)
    canvas = np.empty((size_wh[1], size_wh[0], 3), frame_bgr.dtype) if out is None else out
    part = _padded(canvas, geometry, pad_value)
    interpolation = fastest_equal(cv2.INTER_LINEAR, frame_bgr.shape, part.shape)
    cv2.resize(frame_bgr, geometry.content_wh, dst=part, interpolation=interpolation)
    return canvas, geometry.placement


def fit_frame(
    frame: Frame | FramePixels, target: FrameInput, *, out: Frame | None = None
) -> tuple[Frame, FrameTransform]:
    """Resize a frame to the model's input according to its spec; `FramePixels` are scaled before their conversion.

    `out`, uint8 of the model's `frame_shape`, is written to and returned if given. For the layout "nv12" the planes of
    `FramePixels` are scaled or copied, without a conversion; a BGR frame is converted. Raises `UsageError` for other
    arrays than uint8 BGR frames, and for a frame of another size if the graph accepts just one.
    """
    if target.layout == "nv12":
        return _fit_nv12(frame, target, np.empty(target.frame_shape, np.uint8) if out is None else out)
    if isinstance(frame, FramePixels):
        return _fit_decoded(frame, target, out)
    check_frame(frame)
    if target.fit == "letterbox":
        return letterbox(frame, target.size_wh, pad_value=target.pad_value, out=out)
    if target.fit == "stretch" and out is not None:
        frame_wh = (frame.shape[1], frame.shape[0])
        chosen = fastest_equal(_interpolation(frame_wh, target.size_wh), frame.shape, out.shape)
        cv2.resize(frame, target.size_wh, dst=out, interpolation=chosen)
        return out, _stretched(frame_wh, target.size_wh)
    fitted, placement = fit_pixels(frame, target)
    if out is None:
        return np.ascontiguousarray(fitted), placement
    out[:] = fitted
    return out, placement


def _fit_decoded(frame: FramePixels, target: FrameInput, out: Frame | None) -> tuple[Frame, FrameTransform]:
    """`fit_frame` for a frame that is not converted yet; a crop needs the whole frame."""
    if target.fit == "center-crop":
        return fit_frame(frame.image_bgr, target, out=out)
    canvas = np.empty((target.size_wh[1], target.size_wh[0], 3), np.uint8) if out is None else out
    if target.fit == "letterbox":
        geometry = LetterboxGeometry.of(frame.size_wh, target.size_wh)
        frame.write_bgr(_padded(canvas, geometry, target.pad_value))
        return canvas, geometry.placement
    if target.fit == "exact":
        _check_exact(frame.size_wh, target.size_wh)
    frame.write_bgr(canvas, _interpolation(frame.size_wh, target.size_wh))
    return canvas, _stretched(frame.size_wh, target.size_wh)


def _fit_nv12(frame: Frame | FramePixels, target: FrameInput, out: Nv12) -> tuple[Nv12, FrameTransform]:
    """`fit_frame` for the layout "nv12"; a crop needs the whole frame."""
    planes = frame.planes if isinstance(frame, FramePixels) and target.fit != "center-crop" else None
    if planes is None:
        # Scaled first, so that fewer pixels are converted.
        image = frame.image_bgr if isinstance(frame, FramePixels) else frame
        fitted, placement = fit_frame(image, target.in_bgr)
        write_bgr(fitted, out)
        return out, placement
    return out, _fit_planes(planes, target, Nv12Parts.of(out))


def _fit_planes(planes: YuvPlanes, target: FrameInput, parts: Nv12Parts) -> FrameTransform:
    """Scale planes into a frame's parts."""
    frame_wh = (planes.luma.shape[1], planes.luma.shape[0])
    parts.set_colour(planes.colour)
    if target.fit == "letterbox":
        geometry = LetterboxGeometry.of(frame_wh, target.size_wh)
        area = ContentArea(*geometry.pad_xy, *geometry.content_wh)
        parts.pad(area, target.pad_value)
        write_scaled(planes, parts, area, cv2.INTER_LINEAR)
        return geometry.placement
    if target.fit == "exact":
        _check_exact(frame_wh, target.size_wh)
    write_scaled(planes, parts, ContentArea(0, 0, *target.size_wh), _interpolation(frame_wh, target.size_wh))
    return _stretched(frame_wh, target.size_wh)


def _padded(canvas: Pixels, geometry: LetterboxGeometry, pad_value: int) -> Pixels:
    """Fill the padding of a canvas; returns the part for the content, a view."""
    (left, top), (width, height) = geometry.pad_xy, geometry.content_wh
    canvas[:top] = pad_value
    canvas[top + height :] = pad_value
    canvas[top : top + height, :left] = pad_value
    canvas[top : top + height, left + width :] = pad_value
    return canvas[top : top + height, left : left + width]


def fit_pixels(frame_bgr: Pixels, target: FrameInput) -> tuple[Pixels, FrameTransform]:
    """`fit_frame` for pixels ``[H,W,3]`` of any dtype that OpenCV scales; float32 is not rounded to whole values."""
    frame_wh = (frame_bgr.shape[1], frame_bgr.shape[0])
    if target.fit == "letterbox":
        return letterbox(frame_bgr, target.size_wh, pad_value=target.pad_value)
    if target.fit == "center-crop":
        return _center_crop(frame_bgr, target)
    if target.fit == "stretch":
        return _resize(frame_bgr, target.size_wh), _stretched(frame_wh, target.size_wh)
    _check_exact(frame_wh, target.size_wh)
    return frame_bgr, _stretched(frame_wh, target.size_wh)


def _stretched(frame_wh: tuple[int, int], size_wh: tuple[int, int]) -> FrameTransform:
    """The map of a frame that fills the input."""
    return FrameTransform(frame_wh, (size_wh[0] / frame_wh[0], size_wh[1] / frame_wh[1]), (0.0, 0.0))


def _check_exact(frame_wh: tuple[int, int], size_wh: tuple[int, int]) -> None:
    if frame_wh != size_wh:
        received, expected = "x".join(map(str, frame_wh)), "x".join(map(str, size_wh))
        raise UsageError(
            f"frame is {received}; expected {expected}, the only size of this graph; export it with --frame"
            f" {received} (an image-to-image model with --size {received}, or run it with --tiles)"
        )


def check_frame(frame_bgr: Frame) -> None:
    """Raise `UsageError` unless this is a uint8 ``[H,W,3]`` array with at least one pixel."""
    if frame_bgr.dtype != np.uint8 or frame_bgr.ndim != 3 or frame_bgr.shape[2] != 3 or not frame_bgr.size:
        raise UsageError(
            f"expected a frame of uint8 [H,W,3] BGR; received {frame_bgr.dtype} {list(frame_bgr.shape)}"
        )


def _center_crop(frame_bgr: Pixels, target: FrameInput) -> tuple[Pixels, FrameTransform]:
    height, width = frame_bgr.shape[:2]
    crop_w, crop_h = target.size_wh
    ratio = max(crop_w / width, crop_h / height) / target.crop_fraction
    scaled_wh = (max(crop_w, round(width * ratio)), max(crop_h, round(height * ratio)))
    if scaled_wh[0] * scaled_wh[1] > LARGEST_PIXELS:
        # A narrow strip: scaling the part outside of the crop could take more memory than the machine has.
        x, y = (_margin(side, crop / ratio) for side, crop in ((width, crop_w), (height, crop_h)))
        if x or y:
            cropped, inner = _center_crop(frame_bgr[y : height - y, x : width - x], target)
            offset_xy = (
                inner.offset_xy[0] - x * inner.scale_xy[0],
                inner.offset_xy[1] - y * inner.scale_xy[1],
            )
            return cropped, FrameTransform((width, height), inner.scale_xy, offset_xy)
    left, top = (scaled_wh[0] - crop_w) // 2, (scaled_wh[1] - crop_h) // 2
    scaled = _resize(frame_bgr, scaled_wh)
    placement = FrameTransform(
        (width, height), (scaled_wh[0] / width, scaled_wh[1] / height), (float(-left), float(-top))
    )
    return scaled[top : top + crop_h, left : left + crop_w], placement


def _margin(side: int, needed: float) -> int:
    """Pixels to cut at both ends of a side, so that the middle `needed` pixels and two more at each end remain."""
    return max(0, int((side - needed) / 2) - 2)


def _resize(frame_bgr: Pixels, size_wh: tuple[int, int]) -> Pixels:
    frame_wh = (frame_bgr.shape[1], frame_bgr.shape[0])
    return cv2.resize(frame_bgr, size_wh, interpolation=_interpolation(frame_wh, size_wh))


def _interpolation(frame_wh: tuple[int, int], size_wh: tuple[int, int]) -> int:
    """Bilinear; by areas if a side shrinks to less than half, where bilinear sampling would skip pixels."""
    shrinks = size_wh[0] * 2 < frame_wh[0] or size_wh[1] * 2 < frame_wh[1]
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


def psnr_from_error(mean_square: float, most_db: float) -> float:
    """Peak signal-to-noise ratio in dB of values of 0..255 with this mean squared error, at most `most_db`."""
    return most_db if mean_square == 0 else min(most_db, 10 * math.log10(255**2 / mean_square))
