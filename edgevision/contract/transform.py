"""The affine map between a frame and a model's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FrameTransform:
    """Placement of a frame within the model's input: ``input = frame * scale_xy + offset_xy``, in pixels.

    Pixel coordinates are continuous: the left edge of the first pixel is 0, the right edge of the last one the width.
    """

    frame_wh: tuple[int, int]
    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    def frame_from_input(self, boxes: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Boxes ``[N,4]`` xyxy from input to frame pixels, clipped to the frame."""
        scale = np.asarray(self.scale_xy * 2)
        offset = np.asarray(self.offset_xy * 2)
        limit = np.asarray(self.frame_wh * 2)
        return np.asarray(np.clip((boxes - offset) / scale, 0, limit), np.float32)

    def input_from_frame(self, boxes: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Boxes ``[N,4]`` xyxy from frame to input pixels."""
        return np.asarray(boxes * np.asarray(self.scale_xy * 2) + np.asarray(self.offset_xy * 2), np.float32)

    def frame_from_input_points(self, points: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Points ``[...,2]`` of x and y from input to frame pixels; points outside of the frame stay there."""
        return np.asarray((points - np.asarray(self.offset_xy)) / np.asarray(self.scale_xy), np.float32)

    def frame_from_input_oriented(self, boxes: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Oriented boxes ``[N,5]`` from input to frame pixels, not clipped.

        Angles are kept: the scales of both axes are equal, except for a letterbox's rounding to whole pixels. Each
        side is scaled by its direction.
        """
        moved = np.array(boxes, np.float64)
        moved[:, :2] = (moved[:, :2] - np.asarray(self.offset_xy)) / np.asarray(self.scale_xy)
        cos, sin = np.cos(moved[:, 4]), np.sin(moved[:, 4])
        x, y = (1 / scale for scale in self.scale_xy)
        moved[:, 2] *= np.hypot(cos * x, sin * y)
        moved[:, 3] *= np.hypot(sin * x, cos * y)
        return np.asarray(moved, np.float32)

    def nearest_input(self, input_wh: tuple[int, int]) -> tuple[Indices, Indices]:
        """Columns and rows of the input that contain the centres of the frame's columns and rows."""
        columns, rows = (
            np.floor((np.arange(side) + 0.5) * scale + offset).astype(np.int64).clip(0, limit - 1)
            for side, scale, offset, limit in zip(
                self.frame_wh, self.scale_xy, self.offset_xy, input_wh, strict=True
            )
        )
        return columns, rows

    def frame_part(self, image: npt.NDArray[np.uint8], input_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """The part of an image ``[h,w,3]`` that shows the frame: without a letterbox's padding, a view.

        The image covers the whole input, whose size is `input_wh`, at any resolution.
        """
        ends = []
        for side, limit, scale, offset, size in zip(
            self.frame_wh, input_wh, self.scale_xy, self.offset_xy, image.shape[1::-1], strict=True
        ):
            first, last = max(offset, 0.0), min(offset + side * scale, limit)
            ends.append((round(first * size / limit), round(last * size / limit)))
        (left, right), (top, bottom) = ends
        return image[top:bottom, left:right]

    def frame_from_input_mask(self, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Labels ``[H,W]`` of the input's pixels to labels of the frame's, each from the pixel that contains it."""
        columns, rows = self.nearest_input((mask.shape[1], mask.shape[0]))
        # Rows first: copying whole rows is fast, and the slower column selection then reads each once.
        return np.asarray(mask.take(rows, axis=0).take(columns, axis=1))
