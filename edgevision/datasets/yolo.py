"""Reads YOLO text: for each image a file of ``class x y w h`` lines, values as fractions of the image's sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgevision.datasets.boxes import BoxDataset, BoxLabels, BoxRow, ClassNames, read_text
from edgevision.datasets.coco import polygon
from edgevision.errors import SourceError, UsageError
from edgevision.sources.image_files import IMAGE_SUFFIXES


def read_yolo(
    folder: Path, classes: Sequence[str], wanted: ClassNames | None = None, *, outlines: bool = False
) -> BoxDataset:
    """Read ``images/`` and ``labels/`` below `folder`; sub-folders of the two correspond.

    For a line with more than five values, a polygon, its bounds are used. `classes` names the class numbers; an empty
    name is a number that must not occur. An image without a text file has no boxes. With `outlines` every line must be
    a polygon.
    """
    for needed in (folder / "images", folder / "labels"):
        if not needed.is_dir():
            raise UsageError(f"{folder} is not a YOLO data set: it has no folder {needed.name}/")
    return read_yolo_images(images_below(folder / "images"), classes, wanted, outlines=outlines)


def read_yolo_images(
    files: Sequence[Path],
    classes: Sequence[str],
    wanted: ClassNames | None = None,
    *,
    outlines: bool = False,
) -> BoxDataset:
    """Read the boxes of image files; the text of ``.../images/.../a.jpg`` is ``.../labels/.../a.txt``."""
    wanted = wanted or ClassNames(tuple(name for name in classes if name))
    label_of = wanted.label_of()
    boxes = []
    for file in files:
        labels = label_file(file)
        rows = _rows(labels, classes, label_of, outlines=outlines) if labels.is_file() else []
        boxes.append(BoxLabels.from_rows(rows, outlines=outlines))
    return BoxDataset(wanted.names, tuple(files), tuple(boxes))


def images_below(folder: Path) -> tuple[Path, ...]:
    """The images of a folder and its sub-folders, sorted; raises `SourceError` if there is none."""
    files = tuple(path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise SourceError(f"{folder} holds no image ({' '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def label_file(image: Path) -> Path:
    """The text file of an image: the last ``images`` in its path becomes ``labels``; else it is next to the image."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def names_from_text(file: Path) -> tuple[str, ...]:
    """Names by number, one on each line; an empty line is an unused number."""
    try:
        names = tuple(line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}; it must list the class names, one on each line (or pass --names FILE)"
        ) from error
    names = names[: len(names) - next((i for i, name in enumerate(reversed(names)) if name), 0)]
    if not any(names):
        raise UsageError(f"{file} contains no class name")
    return names


def _rows(path: Path, classes: Sequence[str], label_of: Mapping[str, int], *, outlines: bool) -> list[BoxRow]:
    rows: list[BoxRow] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        values = _values(where, line, outlines=outlines)
        if not values[0].is_integer() or not 0 <= values[0] < len(classes):
            raise UsageError(f"{where}: class {line.split()[0]} is not one of 0..{len(classes) - 1}")
        name = classes[int(values[0])]
        if not name:
            raise UsageError(f"{where}: class {line.split()[0]} has no name in the list of names")
        label = label_of.get(name)
        if label is not None:
            outline = (polygon(values[1:], (1, 1)),) if outlines else ()
            rows.append(BoxRow(label, _bounds(values[1:]), outline))
    return rows


def _values(where: str, line: str, *, outlines: bool) -> list[float]:
    try:
        values = [float(field) for field in line.split()]
    except ValueError as error:
        raise UsageError(f"{where}: {line!r} is not a line of numbers") from error
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise UsageError(
            f"{where}: {line!r} has {len(values)} values; a box has 5 (class x y w h), a polygon 1 + 2 n"
        )
    if len(values) == 5 and outlines:
        raise UsageError(
            f"{where}: {line!r} is a box; an instance is a polygon of 1 + 2 n values (class x y x y x y ...)"
        )
    if not all(-0.001 <= value <= 1.001 for value in values[1:]):
        worst = next(value for value in values[1:] if not -0.001 <= value <= 1.001)
        raise UsageError(f"{where}: {worst:g} is not in 0..1; YOLO text holds fractions of the image's sides")
    return values


def _bounds(values: list[float]) -> tuple[float, float, float, float]:
    if len(values) == 4:
        x, y, w, h = values
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2
    return min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])
