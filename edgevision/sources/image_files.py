"""Image files: supported suffixes, decoding and encoding."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edgevision.contract.image import Frame
from edgevision.device.opencv_build import quiet_opencv
from edgevision.errors import SinkError, SourceError
from edgevision.storage import atomic

IMAGE_SUFFIXES = frozenset(
    (".avif", ".bmp", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


def images_in(folder: Path) -> tuple[list[Path], int]:
    """The images of a folder and its sub-folders, sorted by path, and the number of other files.

    Raises `SourceError` if there is no image.
    """
    files = sorted(Path(inner) / name for inner, _, names in os.walk(folder) for name in names)
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    others = len(files) - len(images)
    if not images:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise SourceError(
            f"folder {folder} holds no images among its {others} files; expected files that end in {suffixes}"
        )
    return images, others


def read_image(path: Path) -> Frame:
    """Decode an image file to uint8 BGR, as a viewer shows it; raises `SourceError`.

    Grey images get three equal channels. Alpha is dropped, without blending colours. 16 bits per channel are scaled to
    8, and an orientation in the EXIF data is applied.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    if not data:
        raise SourceError(f"{path} is empty")
    try:
        with quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(f"{path} cannot be decoded: {error.err}") from error
    if image is None:
        raise SourceError(f"{path} is not an image that OpenCV can decode, or it is truncated")
    return np.asarray(image, np.uint8)


def write_image(path: Path, image_bgr: Frame, edit: Callable[[bytes], bytes] = lambda data: data) -> None:
    """Encode an image in the format of the file's suffix; folders are made, and the file is written atomically.

    `edit` changes the file's bytes before they are written. Raises `SinkError`.
    """
    try:
        encoded, data = cv2.imencode(path.suffix.lower(), image_bgr)
    except cv2.error as error:
        raise SinkError(f"cannot encode {path}: {error.err}") from error
    if not encoded:
        raise SinkError(f"cannot encode {path}: OpenCV gives no reason")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, edit(data.tobytes()))
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from error
