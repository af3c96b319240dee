"""Reads Pascal VOC data sets: an XML file for each image, as LabelImg and many tools write it.

The format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. Corners are pixels counted from 1
that belong to the object: ``xmin`` 1 is the image's left edge.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgevision.datasets.boxes import BoxDataset, BoxLabels, BoxRow, ClassNames, read_text
from edgevision.errors import SourceError, UsageError
from edgevision.sources.image_files import IMAGE_SUFFIXES, read_image

Box = tuple[str, tuple[float, float, float, float]]


def is_voc(folder: Path) -> bool:
    """True if the folder, or its ``Annotations/``, holds XML files."""
    return any(next(place.glob("*.xml"), None) is not None for place in (folder, folder / "Annotations"))


def read_voc(
    folder: Path, images: Path | None, wanted: ClassNames | None = None, *, part: str | None = None
) -> BoxDataset:
    """Read a folder of XML files; `part` is a list of ``ImageSets/Main`` such as "train".

    The images are in `images`, in ``JPEGImages/`` or ``images/``, or next to the XML files. Without `wanted` the
    classes are the names that occur, sorted. Raises `UsageError` and `SourceError` that name file and value.
    """
    place = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
    files = sorted(place.glob("*.xml"))
    if part is not None:
        names = part_names(folder, part)
        files = [place / f"{name}.xml" for name in names]
        missing = next((file for file in files if not file.is_file()), None)
        if missing is not None:
            raise SourceError(
                f"{missing} is named by {folder / 'ImageSets/Main' / part}.txt and does not exist"
            )
    folders = [f for f in (images, folder / "JPEGImages", folder / "images", place) if f is not None]
    dropped: Counter[str] = Counter()
    found = [_read(file, folders, dropped) for file in files]
    if wanted is None:
        wanted = ClassNames(tuple(sorted({name for _, boxes in found for name, _ in boxes})))
    label_of = wanted.label_of()
    labels = tuple(
        BoxLabels.from_rows(
            [BoxRow(label_of[name], box) for name, box in boxes if name in label_of], outlines=False
        )
        for _, boxes in found
    )
    warnings = tuple(f"{folder}: {count} {what}" for what, count in dropped.items())
    return BoxDataset(wanted.names, tuple(image for image, _ in found), labels, warnings)


def part_names(folder: Path, part: str) -> list[str]:
    """The names of a list in ``ImageSets/Main``."""
    file = folder / "ImageSets" / "Main" / f"{part}.txt"
    return [line.split()[0] for line in read_text(file).splitlines() if line.strip()]


def has_part(folder: Path, part: str) -> bool:
    """True if ``ImageSets/Main`` has such a list."""
    return (folder / "ImageSets" / "Main" / f"{part}.txt").is_file()


def _read(file: Path, folders: Sequence[Path], dropped: Counter[str]) -> tuple[Path, list[Box]]:
    text = read_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UsageError(f"{file} declares a document type; entities of annotation files are not expanded")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UsageError(f"{file}:{error.position[0]}: not XML: {error}") from error
    image = _image(file, root.findtext("filename"), folders)
    size = root.find("size")
    width, height = (
        (_number(file, size, name) for name in ("width", "height")) if size is not None else (0, 0)
    )
    if width < 1 or height < 1:
        shape = read_image(image).shape
        width, height = float(shape[1]), float(shape[0])
    boxes: list[Box] = []
    for thing in root.iter("object"):
        name, box = thing.findtext("name"), thing.find("bndbox")
        if not name or box is None:
            raise UsageError(f"{file}: an object without name or bndbox")
        x0, y0, x1, y1 = (_number(file, box, key) for key in ("xmin", "ymin", "xmax", "ymax"))
        if x1 <= x0 - 1 or y1 <= y0 - 1:
            dropped["boxes of no area or of a negative side are left out"] += 1
        elif x0 > width or y0 > height or x1 < 1 or y1 < 1:
            dropped["boxes outside their image are left out"] += 1
        else:
            boxes.append((name.strip(), ((x0 - 1) / width, (y0 - 1) / height, x1 / width, y1 / height)))
    return image, boxes


def _image(file: Path, named: str | None, folders: Sequence[Path]) -> Path:
    """The image of a file: by its `filename`, whose suffix may be missing or wrong, else by the XML's own name."""
    for stem in dict.fromkeys((Path((named or "").replace("\\", "/")).name, file.stem)):
        for folder in folders:
            exact = folder / stem
            if stem and exact.is_file() and exact.suffix.lower() in IMAGE_SUFFIXES:
                return exact
            for suffix in sorted(IMAGE_SUFFIXES):
                other = folder / f"{Path(stem).stem}{suffix}"
                if stem and other.is_file():
                    return other
    raise SourceError(
        f"the image {named or file.stem} of {file} is in none of {', '.join(map(str, folders))}"
    )


def _number(file: Path, parent: ElementTree.Element, key: str) -> float:
    text = parent.findtext(key)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{file}: {parent.tag}/{key} is {text!r}; expected a number")
    return value
