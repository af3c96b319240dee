"""Scaling of images along one axis after the other, for graphs and for their reference in numpy.

Bilinear and area sampling are linear and separable: ``out = rows @ frame @ columns.T``. A crop is a matrix with fewer
rows. The result equals cv2.resize before its rounding to whole pixel values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgevision.contract.image import LetterboxGeometry
from edgevision.contract.nv12 import Nv12Parts
from edgevision.contract.spec import Fit, FrameInput
from edgevision.errors import GraphError

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Taps:
    """Bilinear sampling along one axis: pixel ``low`` with weight ``1 - share``, the next one with weight `share`."""

    low: npt.NDArray[np.int64]
    share: npt.NDArray[np.float32]
    """0 to 1; above 0 only where the image has a pixel ``low + 1``."""

    @property
    def step(self) -> int | None:
        """The distance of neighbouring pixels `low` if it is constant, and `share` is 0 or 1/2 for all; else None."""
        if (self.share != self.share[0]).any() or self.share[0] not in (0, 0.5):
            return None
        distances = np.diff(self.low)
        if not distances.size:
            return 1
        return int(distances[0]) if distances[0] > 0 and (distances == distances[0]).all() else None


@dataclass(frozen=True, slots=True)
class Scaling:
    """Pixels `start` to `stop` of an axis of `source` pixels that is scaled to `target`."""

    source: int
    target: int
    start: int
    stop: int
    area: bool = False
    """Averages instead of bilinear sampling."""

    @classmethod
    def whole(cls, source: int, target: int | None = None) -> Scaling:
        """Bilinear scaling of the whole axis; without a `target` it stays as it is."""
        target = source if target is None else target
        return cls(source, target, 0, target)

    @property
    def matrix(self) -> Matrix:
        """Weights ``[stop-start, source]``."""
        if self.area:
            return area_matrix(self.source, self.target, self.start, self.stop)
        return bilinear_matrix(self.source, self.target, self.start, self.stop)

    @property
    def taps(self) -> Taps:
        """The same of bilinear scaling, as two pixels for each."""
        return bilinear_taps(self.source, self.target, self.start, self.stop)


def bilinear_taps(source: int, target: int, start: int = 0, stop: int | None = None) -> Taps:
    """Bilinear sampling at half-pixel centres, without antialiasing, of pixels `start` to `stop` of the target."""
    places = np.arange(start, target if stop is None else stop)
    centre = np.clip((places + 0.5) * (source / target) - 0.5, 0, source - 1)
    low = np.minimum(np.floor(centre).astype(np.int64), max(source - 2, 0))
    return Taps(low, (centre - low).astype(np.float32))


def bilinear_matrix(source: int, target: int, start: int = 0, stop: int | None = None) -> Matrix:
    """`bilinear_taps` as weights ``[stop-start, source]``."""
    taps = bilinear_taps(source, target, start, stop)
    matrix = np.zeros((len(taps.low), source), np.float32)
    rows = np.arange(len(taps.low))
    np.add.at(matrix, (rows, taps.low), 1 - taps.share)
    np.add.at(matrix, (rows, np.minimum(taps.low + 1, source - 1)), taps.share)
    return matrix


def area_matrix(source: int, target: int, start: int = 0, stop: int | None = None) -> Matrix:
    """Weights ``[stop-start, source]`` of averaging the source pixels that each pixel of a smaller target covers."""
    edges = np.arange(start, (target if stop is None else stop) + 1) * (source / target)
    pixels = np.arange(source)
    cover = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    cover = np.maximum(cover, 0)
    return np.asarray(cover / cover.sum(axis=1, keepdims=True), np.float32)


def scaling_of(
    frame_wh: tuple[int, int], network_wh: tuple[int, int], fit: Fit, crop_fraction: float
) -> tuple[Scaling, Scaling]:
    """Scaling of rows and columns of a frame to the network's size as the host does it for this `fit`.

    Raises `GraphError` for "letterbox" and "exact", which are not plain scaling. Raises it as well for a frame that
    would shrink to less than half in one direction and grow in the other.
    """
    if fit == "stretch":
        scaled_wh, corner_xy = network_wh, (0, 0)
    elif fit == "center-crop":
        ratio = max(network_wh[0] / frame_wh[0], network_wh[1] / frame_wh[1]) / crop_fraction
        scaled_w = max(network_wh[0], round(frame_wh[0] * ratio))
        scaled_h = max(network_wh[1], round(frame_wh[1] * ratio))
        scaled_wh = (scaled_w, scaled_h)
        corner_xy = ((scaled_w - network_wh[0]) // 2, (scaled_h - network_wh[1]) // 2)
    else:
        raise GraphError(f"fit {fit!r} is not plain scaling; expected 'stretch' or 'center-crop'")
    area = any(s * 2 < f for s, f in zip(scaled_wh, frame_wh, strict=True))
    if area and any(s > f for s, f in zip(scaled_wh, frame_wh, strict=True)):
        raise GraphError(
            f"frames of {frame_wh[0]}x{frame_wh[1]} would be shrunk in one direction and enlarged in the"
            f" other, to {scaled_wh[0]}x{scaled_wh[1]}; choose another --frame, or let the host scale"
        )
    columns, rows = (
        Scaling(source, target, corner, corner + length, area)
        for source, target, corner, length in zip(frame_wh, scaled_wh, corner_xy, network_wh, strict=True)
    )
    return rows, columns


def nv12_pixels(
    frames: npt.NDArray[np.uint8], target: FrameInput, network_wh: tuple[int, int], fit: Fit
) -> npt.NDArray[np.float64]:
    """What a network sees of frames in the layout "nv12": BGR ``[N,h,w,3]`` of 0..255, computed in float64.

    `target` is the graph's input. Planes are scaled first, chroma directly to luma's new size, and then converted and
    limited to 0..255. If the frame has the network's size, each value of chroma covers four pixels. This is the
    reference of graphs, without their operators.
    """
    (width, height), pad_xy = target.size_wh, (0, 0)
    scales = target.size_wh != network_wh
    if not scales:
        rows, columns = Scaling.whole(height), Scaling.whole(width)
    elif fit == "letterbox":
        geometry = LetterboxGeometry.of(target.size_wh, network_wh)
        pad_xy = geometry.pad_xy
        rows, columns = (
            Scaling.whole(height, geometry.content_wh[1]),
            Scaling.whole(width, geometry.content_wh[0]),
        )
    else:
        rows, columns = scaling_of(target.size_wh, network_wh, fit, target.crop_fraction)
    canvas = np.full((len(frames), network_wh[1], network_wh[0], 3), float(target.pad_value))
    for frame, out in zip(frames, canvas, strict=True):
        parts = Nv12Parts.of(frame)
        luma = rows.matrix.astype(np.float64) @ parts.luma @ columns.matrix.T
        halves = [_chroma_weights(side, scales=scales) for side in (rows, columns)]
        chroma = [halves[0] @ parts.chroma[..., channel] @ halves[1].T for channel in (0, 1)]
        values = np.stack([luma, *chroma, np.ones_like(luma)], -1) @ parts.colour.to_bgr.T
        (left, top), (inner_h, inner_w) = pad_xy, luma.shape
        out[top : top + inner_h, left : left + inner_w] = values.clip(0, 255)
    return canvas


def _chroma_weights(luma: Scaling, *, scales: bool) -> npt.NDArray[np.float64]:
    """Weights of chroma along an axis, whose luma is scaled like this."""
    if scales:
        return replace(luma, source=luma.source // 2).matrix.astype(np.float64)
    return np.repeat(np.eye(luma.source // 2), 2, axis=0)


def resample_matrices(
    frame_wh: tuple[int, int], network_wh: tuple[int, int], fit: Fit, crop_fraction: float
) -> tuple[Matrix, Matrix]:
    """`scaling_of` as matrices ``[h, H]`` and ``[w, W]``."""
    rows, columns = scaling_of(frame_wh, network_wh, fit, crop_fraction)
    return rows.matrix, columns.matrix
