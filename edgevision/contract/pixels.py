"""Pixels of a decoded frame that are converted to BGR on request, at the size that is needed."""

from __future__ import annotations

import abc
import functools
import threading
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]
"""uint8 ``[h,w]``: luma, Cb or Cr; rows may be padded."""
Planes = tuple[Plane, Plane, Plane]
"""Luma, Cb and Cr; the chroma planes may be smaller."""
Matrix = npt.NDArray[np.float64]
Bgr = npt.NDArray[np.uint8]
"""uint8 ``[H,W,3]``, BGR."""

BT_709, UNSPECIFIED, BT_601 = 1, 2, 6
"""Matrices in the numbers of ITU-T H.273, which video streams and FFmpeg use."""
WEIGHTS = {
    BT_709: (0.2126, 0.0722),
    UNSPECIFIED: (0.299, 0.114),  # as libswscale
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    BT_601: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Weights of red and blue by the number of the matrix (H.273, table 4): BT.709, FCC, BT.601, SMPTE 240M, BT.2020."""


@dataclass(frozen=True, slots=True)
class YuvColour:
    """The meaning of Y, Cb and Cr: a matrix of `WEIGHTS` and a range, as a stream states them."""

    matrix: int = UNSPECIFIED
    full_range: bool = False
    """True if black is 0 and white 255; else they are 16 and 235."""

    def __post_init__(self) -> None:
        if self.matrix not in WEIGHTS:
            known = ", ".join(map(str, WEIGHTS))
            raise ValueError(f"matrix is {self.matrix}; expected a number of H.273: {known}")

    @property
    def to_bgr(self) -> Matrix:
        """`bgr_matrix` of this colour."""
        return _to_bgr(self)

    @property
    def from_bgr(self) -> Matrix:
        """Its inverse ``[3,4]``, from (B, G, R, 1) to Y, Cb and Cr in levels of 8 bits."""
        return _from_bgr(self)


@dataclass(frozen=True, slots=True, eq=False)
class YuvPlanes:
    """A frame of 8 bits, 4:2:0: luma at its size, and chroma at half the size, rounded up."""

    luma: Plane
    chroma: tuple[Plane, ...]
    """Cb and Cr, or one array ``[h,w,2]`` of both (NV12)."""
    colour: YuvColour


class FramePixels(abc.ABC):
    """A frame in its decoder's format; thread-safe.

    `image_bgr` is the whole frame in BGR. `write_bgr` scales the frame first and converts the result, which takes a
    fraction of the time if the target is smaller. Its pixels differ from those of a converted and then scaled frame
    by the rounding of both steps.
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
    def planes(self) -> YuvPlanes | None:
        """The planes, valid while this frame exists; None if the frame cannot be had in this form."""
        return None

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


def bgr_matrix(kr: float, kb: float, *, full_range: bool = False, offset: float = 0.0) -> Matrix:
    """The matrix ``[3,4]`` from (Y, Cb, Cr, 1), in levels of 8 bits, to BGR (ITU-T H.273, equations 38 to 43).

    `kr` and `kb` are the weights of red and blue: 0.299 and 0.114 in BT.601, 0.2126 and 0.0722 in BT.709. `offset` is
    added to each level.
    """
    kg = 1 - kr - kb
    black, luma, chroma = (0.0, 1.0, 1.0) if full_range else (16.0, 255 / 219, 255 / 224)
    rows = np.array(
        [
            [luma, 2 * (1 - kb) * chroma, 0.0],
            [luma, -2 * kb * (1 - kb) / kg * chroma, -2 * kr * (1 - kr) / kg * chroma],
            [luma, 0.0, 2 * (1 - kr) * chroma],
        ]
    )
    return np.hstack([rows, (offset - rows @ [black, 128.0, 128.0])[:, None]])


@functools.cache
def _to_bgr(colour: YuvColour) -> Matrix:
    return bgr_matrix(*WEIGHTS[colour.matrix], full_range=colour.full_range)


@functools.cache
def _from_bgr(colour: YuvColour) -> Matrix:
    matrix = _to_bgr(colour)
    inverse = np.linalg.inv(matrix[:, :3])
    return np.hstack([inverse, -inverse @ matrix[:, 3:]])


def scale_into(image: npt.NDArray[Any], out: npt.NDArray[Any], interpolation: int) -> None:
    """Scale an image to the size of `out` and write it there; OpenCV copies it if it has that size already."""
    interpolation = fastest_equal(interpolation, image.shape, out.shape)
    cv2.resize(image, (out.shape[1], out.shape[0]), dst=out, interpolation=interpolation)


def fastest_equal(interpolation: int, source: tuple[int, ...], target: tuple[int, ...]) -> int:
    """The fastest interpolation of OpenCV that gives the same pixels, for two shapes that begin with height and width.

    At ratios such as 1:3 and 1:5, the bilinear centre of a pixel is the centre of one pixel of the source.
    """
    ratio = source[0] // target[0]
    odd = ratio % 2 == 1 and (source[0], source[1]) == (ratio * target[0], ratio * target[1])
    return cv2.INTER_NEAREST_EXACT if odd and interpolation == cv2.INTER_LINEAR else interpolation


def write_planes(planes: Planes, out: Bgr, interpolation: int, matrix: Matrix) -> None:
    """Scale each plane to the size of `out`, and write the converted result there."""
    size_wh = (out.shape[1], out.shape[0])
    scaled = [
        cv2.resize(plane, size_wh, interpolation=fastest_equal(interpolation, plane.shape, out.shape))
        for plane in planes
    ]
    cv2.transform(cv2.merge(scaled), matrix, dst=out)
