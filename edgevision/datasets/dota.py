"""Reads DOTA's text files of oriented boxes, and the oriented box of any outline.

The format: https://captain-whu.github.io/DOTA/dataset.html, "Annotation format". For each image a text file with a line
for each object: x1 y1 x2 y2 x3 y3 x4 y4 in pixels, category, difficult (1) or not (0). Lines such as
``imagesource:GoogleEarth`` and ``gsd:0.15`` may come first.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.datasets.boxes import read_text
from edgevision.datasets.coco import CocoBox, CocoFile, CocoImage, Segmentation
from edgevision.errors import SourceError, UsageError
from edgevision.sources.image_files import IMAGE_SUFFIXES, read_image

_HEADERS = ("imagesource:", "gsd:", "acquisition dates:")
_FOLDER = "labelTxt"
_ROUNDING_PX = 1e-3
"""Four points are a rectangle if they differ from one by no more."""


def is_dota(folder: Path) -> bool:
    """True for a folder whose first text file, or that of its ``labelTxt``, begins like DOTA's.

    Outside of ``labelTxt`` a category that is a number is not recognised: YOLO's polygons have as many values.
    """
    texts = sorted(_labels(folder).glob("*.txt"))
    if not texts:
        return False
    lines = [line for line in read_text(texts[0]).splitlines() if line.strip()]
    if lines and lines[0].lower().startswith(_HEADERS):
        return True
    fields = lines[0].split() if lines else []
    if len(fields) not in (9, 10) or not all(map(_is_number, fields[:8])):
        return False
    return (folder / _FOLDER).is_dir() or not _is_number(fields[8])


def read_dota(folder: Path, images: Path) -> CocoFile:
    """Read text files in `folder` or its ``labelTxt`` for the images of the same names in `images`.

    Difficult objects become crowd regions: finding them is neither right nor wrong. Categories are numbered from 1 in
    order of their names. Raises `UsageError` with the wrong line, `SourceError` if a text has no image.
    """
    by_stem = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES}
    texts = sorted(_labels(folder).glob("*.txt"))
    found: list[CocoImage] = []
    objects: list[tuple[int, str, list[float], bool]] = []
    for number, text in enumerate(texts, 1):
        image = by_stem.get(text.stem)
        if image is None:
            raise SourceError(
                f"{text} has no image {text.stem} in {images}; check the image folder (--images)"
            )
        height, width = read_image(image).shape[:2]
        found.append(CocoImage(number, image, (float(width), float(height))))
        objects += [(number, *row) for row in _rows(text)]
    names = sorted({name for _, name, _, _ in objects})
    category = {name: key for key, name in enumerate(names, 1)}
    boxes = [_box(image, category[name], corners, difficult) for image, name, corners, difficult in objects]
    return CocoFile(folder, tuple(found), {key: name for name, key in category.items()}, tuple(boxes), ())


def oriented_from_outline(outline: Segmentation) -> tuple[float, float, float, float, float]:
    """The smallest rectangle around an outline: x and y of its centre, width, height, and angle in radians."""
    if isinstance(outline, dict):
        raise UsageError("an oriented box needs a polygon; received a run-length code")
    points = np.concatenate([np.array(part, np.float64).reshape(-1, 2) for part in outline])
    origin = points.mean(axis=0)
    exact = _rectangle(points - origin) if len(points) == 4 else None
    if exact is None:
        (x, y), (width, height), degrees = cv2.minAreaRect((points - origin).astype(np.float32))
        exact = (x, y, width, height, math.radians(degrees))
    x, y, width, height, angle = exact
    return x + float(origin[0]), y + float(origin[1]), width, height, angle


def _rectangle(corners: npt.NDArray[np.float64]) -> tuple[float, float, float, float, float] | None:
    """The rectangle whose corners ``[4,2]`` around the origin are given in order; None if it is none.

    `cv2.minAreaRect` computes in float32 and returns sides that are wrong by 1e-5.
    """
    along, across = corners[1] - corners[0], corners[3] - corners[0]
    width, height = math.hypot(*along), math.hypot(*across)
    fourth = corners[0] + along + across
    wrong = max(
        float(np.abs(fourth - corners[2]).max()), abs(float(along @ across)) / max(width, height, 1e-9)
    )
    if wrong > _ROUNDING_PX:
        return None
    return 0.0, 0.0, width, height, math.atan2(along[1], along[0])


def _labels(folder: Path) -> Path:
    return folder / _FOLDER if (folder / _FOLDER).is_dir() else folder


def _rows(path: Path) -> list[tuple[str, list[float], bool]]:
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.lower().startswith(_HEADERS):
            continue
        fields = line.split()
        numbers = fields[:8]
        if (
            len(fields) not in (9, 10)
            or not all(map(_is_number, numbers))
            or fields[9:] not in ([], ["0"], ["1"])
        ):
            raise UsageError(
                f"{path}:{number}: {line!r} is not x1 y1 x2 y2 x3 y3 x4 y4 category difficult, with difficult 0 or 1"
            )
        rows.append((fields[8], [float(value) for value in numbers], fields[9:] == ["1"]))
    return rows


def _box(image: int, category: int, corners: list[float], difficult: bool) -> CocoBox:
    points: npt.NDArray[np.float64] = np.array(corners).reshape(-1, 2)
    low, high = points.min(axis=0), points.max(axis=0)
    xywh = (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
    _, _, width, height, _ = oriented_from_outline([corners])
    return CocoBox(image, category, xywh, width * height, difficult, [corners], None)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
