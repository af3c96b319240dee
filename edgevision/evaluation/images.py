"""PSNR and SSIM of images that a model makes, against the images it should make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.contract.image import Frame
from edgevision.contract.session import Session
from edgevision.contract.spec import ModelSpec
from edgevision.contract.tiles.options import factor_xy
from edgevision.contract.tiles.session import TiledSession
from edgevision.datasets.cubic import shrunk
from edgevision.errors import SourceError, UsageError
from edgevision.sources.image_files import IMAGE_SUFFIXES, read_image

WINDOW_PX = 11
"""Side of the Gaussian window of SSIM: 3.5 standard deviations of 1.5 pixels to each side."""


@dataclass(frozen=True, slots=True)
class ImagePair:
    """An input image and the image that should be made from it; no input: the target, made smaller."""

    target: Path
    image: Path | None = None


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """One image: PSNR in dB and SSIM of its luma, without the edge of the image."""

    name: str
    psnr: float
    ssim: float


@dataclass(frozen=True, slots=True)
class ImageAccuracy:
    """Means over all images.

    `plain_psnr` is that of OpenCV's bicubic enlargement of the input; NaN if the made images have the input's size.
    """

    images: int
    psnr: float
    ssim: float
    plain_psnr: float
    rows: tuple[ImageQuality, ...]


def find_pairs(
    spec: ModelSpec, images: Path, targets: Path | None, *, limit: int | None = None
) -> tuple[ImagePair, ...]:
    """Pair each image with the target of the same name.

    Without `targets`, `images` holds the targets, and the inputs are made from them: only for models that enlarge.
    Raises `SourceError` for a folder without images, `UsageError` for a missing target.
    """
    files = images_of(images)
    if not files:
        raise SourceError(f"{images} holds no image ({' '.join(sorted(IMAGE_SUFFIXES))})")
    if targets is None:
        if factor_xy(spec) == (1.0, 1.0):
            raise UsageError(
                f"{spec.name} makes images of the input's size; expected --annotations FOLDER with the target of each"
                " image"
            )
        return tuple(ImagePair(path) for path in files[:limit])
    by_stem = {path.stem: path for path in images_of(targets)}
    missing = next((path for path in files if path.stem not in by_stem), None)
    if missing is not None:
        raise UsageError(f"{missing} has no target: expected an image named {missing.stem} in {targets}")
    return tuple(ImagePair(by_stem[path.stem], path) for path in files[:limit])


def without_targets(spec: ModelSpec, targets: Path | None) -> bool:
    """True for a model that changes images in their size, such as a style network, if no images state the result."""
    return spec.task == "translate" and targets is None and factor_xy(spec) == (1.0, 1.0)


def measure_all(session: Session, pairs: Sequence[ImagePair]) -> Iterator[tuple[ImageQuality, float]]:
    """Make every image, in tiles; yields its quality, and the PSNR of the plain bicubic enlargement.

    As usual in super-resolution, sides are first cut to multiples of the factor, and pixels closer to the edge than
    the factor are not measured. Raises `SourceError` for a target that is smaller than the window of SSIM.
    """
    factor, tiled = factor_xy(session.spec), TiledSession(session)
    edge = round(max(factor)) if factor != (1.0, 1.0) else 0
    for pair in pairs:
        target = read_image(pair.target)
        _check_size(pair.target, target, edge)
        target = target[: _multiple(target.shape[0], factor[1]), : _multiple(target.shape[1], factor[0])]
        small_wh = (round(target.shape[1] / factor[0]), round(target.shape[0] / factor[1]))
        image = shrunk(target, small_wh) if pair.image is None else read_image(pair.image)
        if (image.shape[1], image.shape[0]) != small_wh:
            raise UsageError(
                f"{pair.image} is {image.shape[1]}x{image.shape[0]}; expected {small_wh[0]}x{small_wh[1]}, by its"
                f" target {pair.target}"
            )
        made = tiled.image_of(image)
        plain = float("nan") if edge == 0 else _plain_psnr(target, image, edge)
        yield quality_of(pair.target.name, target, made, edge), plain


def accuracy_from_quality(found: Sequence[tuple[ImageQuality, float]]) -> ImageAccuracy:
    """The means over all images."""
    rows = tuple(row for row, _ in found)
    means = [
        float(np.mean(values))
        for values in zip(*((r.psnr, r.ssim, plain) for r, plain in found), strict=True)
    ]
    return ImageAccuracy(len(rows), means[0], means[1], means[2], rows)


def quality_of(name: str, target: Frame, made: Frame, edge: int) -> ImageQuality:
    """PSNR and SSIM (Wang et al., IEEE Trans. Image Processing 13(4), 2004) of luma, by scikit-image."""
    from skimage.metrics import structural_similarity  # loads SciPy

    one, other = (_inner(luma(image), edge) for image in (target, made))
    similarity = structural_similarity(  # type: ignore[no-untyped-call]
        one, other, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return ImageQuality(name, psnr(luma(target), luma(made), edge), float(similarity))


def _plain_psnr(target: Frame, image: Frame, edge: int) -> float:
    enlarged = cv2.resize(image, (target.shape[1], target.shape[0]), interpolation=cv2.INTER_CUBIC)
    return psnr(luma(target), luma(np.asarray(enlarged, np.uint8)), edge)


def psnr(expected: npt.NDArray[Any], actual: npt.NDArray[Any], edge: int = 0) -> float:
    """Peak signal-to-noise ratio in dB for values of 0..255, without `edge` pixels at each side; 100 if equal."""
    from skimage.metrics import peak_signal_noise_ratio

    one, other = _inner(expected, edge), _inner(actual, edge)
    if np.array_equal(one, other):
        return 100.0
    return float(peak_signal_noise_ratio(one, other, data_range=255))  # type: ignore[no-untyped-call]


def luma(image_bgr: Frame) -> npt.NDArray[np.float64]:
    """Luma of ITU-R BT.601 in its range of 16..235, not rounded, float64 ``[H,W]``."""
    return np.asarray(image_bgr.astype(np.float64) @ np.array([24.966, 128.553, 65.481]) / 255 + 16)


def _inner(image: npt.NDArray[Any], edge: int) -> npt.NDArray[Any]:
    return image[edge : image.shape[0] - edge, edge : image.shape[1] - edge]


def _check_size(path: Path, target: Frame, edge: int) -> None:
    height, width = target.shape[:2]
    least = WINDOW_PX + 3 * edge  # the edge at both sides, and what is cut off for a multiple of the factor
    if min(height, width) < least:
        raise SourceError(
            f"{path} is {width}x{height}; expected at least {least}x{least}, because SSIM compares windows of"
            f" {WINDOW_PX}x{WINDOW_PX} pixels; remove the image from the folder"
        )


def _multiple(side: int, factor: float) -> int:
    return int(side // factor * factor) if factor >= 1 else side


def images_of(folder: Path) -> list[Path]:
    """The images directly in a folder, by name; raises `UsageError` if it is not a folder."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of images")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
