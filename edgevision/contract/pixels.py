"""Pixels of a decoded frame that are converted to BGR on request, at the size that is needed."""

from __future__ import annotations

import abc
import threading

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]
"""uint8 ``[h,w]``: brightness or one colour difference; rows may be padded."""
Bgr = npt.NDArray[np.uint8]
"""uint8 ``[H,W,3]``, BGR."""


class FramePixels(abc.ABC):
    """A frame in its decoder's format; thread-safe.

    `image_bgr` is the whole frame in BGR. `write_bgr` scales the frame first and converts the result, which takes a
    fraction of the time if the target is smaller. Its pixels differ from those of a converted and then scaled frame
    by the rounding of both steps and by the resolution of the colour.
    """

    def __init__(self, size_wh: tuple[int, int]) -> None:
        self.size_wh = size_wh
        self._lock = threading.Lock()
        self._image: Bgr | None = None

    @property
    def image_bgr(self) -> Bgr:
        """uint8 ``[H,W,3]``; converted at the first access. The owner of the frame may change it."""
        with self._lock:
            if self._image is None:
                self._image = self._to_bgr()
            return self._image

    @property
    def nbytes(self) -> int:
        """Approximate memory of the frame."""
        width, height = self.size_wh
        return width * height * 3 // 2 + (0 if self._image is None else self._image.nbytes)

    def write_bgr(self, out: Bgr, interpolation: int = cv2.INTER_LINEAR) -> None:
        """Write the frame into `out`, uint8 ``[h,w,3]``, scaled to its size by OpenCV's `interpolation`."""
        with self._lock:
            self._write_bgr(out, interpolation)

    @abc.abstractmethod
    def _to_bgr(self) -> Bgr:
        """Convert the whole frame to an array that the caller owns."""

    @abc.abstractmethod
    def _write_bgr(self, out: Bgr, interpolation: int) -> None:
        """Scale and convert."""


def scaled_i420(planes: tuple[Plane, Plane, Plane], size_wh: tuple[int, int], interpolation: int) -> Plane:
    """Planes of a 4:2:0 frame, each scaled, as one I420 image uint8 ``[h * 3 / 2, w]``.

    w is the width of `size_wh` rounded up to an even number, h the height rounded up to a multiple of 4, which PyAV
    needs. The last columns and rows are repeated there.
    """
    width, height = size_wh[0] + size_wh[0] % 2, size_wh[1] + -size_wh[1] % 4
    image = np.empty((height * 3 // 2, width), np.uint8)
    _fill(image[:height], planes[0], size_wh, interpolation)
    colours = image[height:].reshape(2, height // 2, width // 2)
    half_wh = ((size_wh[0] + 1) // 2, (size_wh[1] + 1) // 2)
    for plane, part in zip(planes[1:], colours, strict=True):
        _fill(part, plane, half_wh, interpolation)
    return image


def _fill(part: Plane, plane: Plane, size_wh: tuple[int, int], interpolation: int) -> None:
    """Scale a plane into the upper left of `part`, and repeat its last column and row in the rest."""
    width, height = size_wh
    scale_into(plane, part[:height, :width], interpolation)
    part[:height, width:] = part[:height, width - 1 : width]
    part[height:] = part[height - 1 : height]


def scale_into(image: Plane | Bgr, out: Plane | Bgr, interpolation: int) -> None:
    """Scale an image to the size of `out` and write it there; a copy if it has that size already."""
    if image.shape == out.shape:
        np.copyto(out, image)
    else:
        cv2.resize(image, (out.shape[1], out.shape[0]), dst=out, interpolation=interpolation)
