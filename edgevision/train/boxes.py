"""Labelled boxes from COCO json and YOLO text: wrong labels are errors that name file, line and value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgevision.errors import SourceError, UsageError
from edgevision.train.json_lines import line_of_item

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

Outline = tuple[npt.NDArray[np.float32], ...]
"""The polygons of one object, each float32 ``[n,2]`` of x and y as fractions of the image's sides."""

_Row = tuple[int, list[float], Outline]
"""Label or category, xyxy as fractions, and the outline, which is empty where it was not asked for."""


def held_tenth(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices to learn from, and a tenth to measure on, chosen by the seed; raises `UsageError` for fewer than two."""
    if count < 2:
        raise UsageError("one image cannot be split into what is learnt and what is measured; give --held")
    order = [int(i) for i in np.random.default_rng(seed).permutation(count)]
    held = max(1, count // 10)
    return sorted(order[held:]), sorted(order[:held])


@dataclass(frozen=True, slots=True, eq=False)
class BoxLabels:
    """The boxes of one image: `xyxy` float32 ``[N,4]`` as fractions of its width and height, `labels` int64 ``[N]``.

    `outlines` has one for each box where outlines were asked for, and is empty otherwise.
    """

    xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    outlines: tuple[Outline, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class BoxDataset:
    """Image files with their boxes; images without a box are kept, they teach what is background."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    boxes: tuple[BoxLabels, ...]

    def __len__(self) -> int:
        return len(self.files)

    def counts(self) -> dict[str, int]:
        """Boxes of each class."""
        every = np.concatenate([b.labels for b in self.boxes]) if self.boxes else np.zeros(0, np.int64)
        return {name: int((every == label).sum()) for label, name in enumerate(self.classes)}

    def subset(self, indices: Sequence[int]) -> BoxDataset:
        """Some of the images; all classes stay."""
        return BoxDataset(
            self.classes, tuple(self.files[i] for i in indices), tuple(self.boxes[i] for i in indices)
        )

    def split(self, seed: int) -> tuple[BoxDataset, BoxDataset]:
        """Hold a tenth of the images back, chosen by the seed; raises `UsageError` for fewer than two images."""
        train, held = held_tenth(len(self), seed)
        return self.subset(train), self.subset(held)


@dataclass(frozen=True, slots=True)
class ClassNames:
    """Which of the data's names become which of the model's classes, in the model's order."""

    names: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    """(name in the data, class of the model)."""

    @classmethod
    def parse(cls, text: str) -> ClassNames:
        """Read ``person,car,motorcycle=motorbike``: model's name, then optionally the names in the data."""
        names, aliases = [], []
        for part in text.split(","):
            name, *others = [piece.strip() for piece in part.split("=")]
            if not name or not all(others):
                raise UsageError(f"--classes {text!r}: {part!r} is neither NAME nor NAME=NAME_IN_THE_DATA")
            names.append(name)
            aliases += [(other, name) for other in others]
        if len(set(names)) != len(names):
            raise UsageError(f"--classes {text!r} names a class twice")
        return cls(tuple(names), tuple(aliases))

    def label_of(self) -> dict[str, int]:
        """Label for each name that the data may use."""
        labels = {name: label for label, name in enumerate(self.names)}
        return labels | {other: labels[name] for other, name in self.aliases}


def read_coco(
    annotations: Path, folder: Path, wanted: ClassNames | None = None, *, outlines: bool = False
) -> BoxDataset:
    """Read a COCO annotation file; without `wanted` every category is a class, in order of its id.

    Boxes of other categories and crowd regions are left out; with `outlines` polygons are read too. Raises `UsageError`
    for a file that is not COCO's format or a label that cannot be meant, `SourceError` for an image that is not there.
    """
    text = _text(annotations)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{annotations}:{error.lineno}: not JSON: {error.msg}") from error
    reader = _CocoReader(annotations, text, content)
    categories = reader.categories()
    if wanted is None:
        wanted = ClassNames(tuple(categories[key] for key in sorted(categories)))
    label_of = wanted.label_of()
    if not set(label_of) & set(categories.values()):
        raise UsageError(
            f"{annotations} has none of the classes {', '.join(label_of)}; its categories:"
            f" {', '.join(sorted(categories.values()))}"
        )
    images = reader.images()
    rows: dict[int, list[_Row]] = {key: [] for key in images}
    for image_id, (category, box, outline) in reader.boxes(images, categories, outlines=outlines):
        label = label_of.get(categories[category])
        if label is not None:
            rows[image_id].append((label, box, outline))
    files = tuple(folder / images[key][0] for key in images)
    _check_files(files, annotations)
    return BoxDataset(wanted.names, files, tuple(_labels(rows[key], outlines=outlines) for key in images))


def read_yolo(
    folder: Path, classes: Sequence[str], wanted: ClassNames | None = None, *, outlines: bool = False
) -> BoxDataset:
    """Read ``images/`` and ``labels/`` below `folder`: for each image a text file of ``class x y w h`` lines.

    Values are fractions of the image's sides, x and y the box's centre; a line with more values is a polygon, whose
    bounds are taken. `classes` names the class numbers; an empty name is a number that must not occur. An image without
    a text file has no boxes. With `outlines` every line must be a polygon.
    """
    images, texts = folder / "images", folder / "labels"
    for needed in (images, texts):
        if not needed.is_dir():
            raise UsageError(f"{folder} is not a YOLO data set: it has no folder {needed.name}/")
    files = tuple(path for path in sorted(images.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise SourceError(f"{images} holds no image ({' '.join(IMAGE_SUFFIXES)})")
    wanted = wanted or ClassNames(tuple(name for name in classes if name))
    label_of = wanted.label_of()
    boxes = []
    for file in files:
        labels = texts / file.relative_to(images).with_suffix(".txt")
        rows = _yolo_file(labels, classes, label_of, outlines=outlines) if labels.is_file() else []
        boxes.append(_labels(rows, outlines=outlines))
    return BoxDataset(wanted.names, files, tuple(boxes))


def _yolo_file(
    path: Path, classes: Sequence[str], label_of: Mapping[str, int], *, outlines: bool
) -> list[_Row]:
    rows: list[_Row] = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        fields = line.split()
        try:
            values = [float(field) for field in fields]
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
        if not values[0].is_integer() or not 0 <= values[0] < len(classes):
            raise UsageError(f"{where}: class {fields[0]} is not one of 0..{len(classes) - 1}")
        name = classes[int(values[0])]
        if not name:
            raise UsageError(f"{where}: class {fields[0]} has no name in the list of names")
        if not all(-0.001 <= value <= 1.001 for value in values[1:]):
            worst = next(value for value in values[1:] if not -0.001 <= value <= 1.001)
            raise UsageError(
                f"{where}: {worst:g} is not in 0..1; YOLO text holds fractions of the image's sides"
            )
        label = label_of.get(name)
        if label is not None:
            outline = (_polygon(values[1:], 1, 1),) if outlines else ()
            rows.append((label, _bounds(values[1:]), outline))
    return rows


def _bounds(values: list[float]) -> list[float]:
    if len(values) == 4:
        x, y, w, h = values
        return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    return [min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])]


def _polygon(values: Sequence[float], width: float, height: float) -> npt.NDArray[np.float32]:
    return (np.array(values, np.float32).reshape(-1, 2) / np.array([width, height], np.float32)).clip(0, 1)


class _CocoReader:
    """Walks a decoded COCO file; an error names the line on which the faulty item begins."""

    def __init__(self, path: Path, text: str, content: object) -> None:
        self.path, self.text = path, text
        if not isinstance(content, dict):
            raise UsageError(f"{path}:1: expected a JSON object; received {type(content).__name__}")
        self.lists: dict[str, list[Mapping[str, object]]] = {}
        for key in ("images", "annotations", "categories"):
            items = content.get(key)
            if not isinstance(items, list):
                raise UsageError(f"{path} is not a COCO annotation file: it has no list {key!r}")
            for index, item in enumerate(items):
                if not isinstance(item, dict):
                    raise self.error(key, index, f"expected an object; received {item!r}")
            self.lists[key] = items

    def error(self, key: str, index: int, problem: str) -> UsageError:
        line = line_of_item(self.text, key, index)
        return UsageError(f"{self.path}:{line}: {key}[{index}]: {problem}")

    def categories(self) -> dict[int, str]:
        return {
            self._number("categories", index, item, "id"): str(item.get("name"))
            for index, item in enumerate(self.lists["categories"])
        }

    def images(self) -> dict[int, tuple[str, float, float]]:
        """File name, width and height by image id."""
        found: dict[int, tuple[str, float, float]] = {}
        for index, item in enumerate(self.lists["images"]):
            width, height = (self._number("images", index, item, side) for side in ("width", "height"))
            if width < 1 or height < 1:
                raise self.error("images", index, f"size {width}x{height} must be positive")
            if not isinstance(item.get("file_name"), str):
                raise self.error("images", index, f"file_name {item.get('file_name')!r} is not a name")
            found[self._number("images", index, item, "id")] = (str(item["file_name"]), width, height)
        return found

    def boxes(
        self, images: Mapping[int, tuple[str, float, float]], categories: Mapping[int, str], *, outlines: bool
    ) -> list[tuple[int, _Row]]:
        """(image id, row) of every box that is not a crowd; rows have the category's id."""
        found = []
        for index, item in enumerate(self.lists["annotations"]):
            image_id = self._number("annotations", index, item, "image_id")
            category = self._number("annotations", index, item, "category_id")
            if image_id not in images:
                raise self.error("annotations", index, f"image_id {image_id} is not among the images")
            if category not in categories:
                raise self.error("annotations", index, f"category_id {category} is not among the categories")
            if item.get("iscrowd"):
                continue
            box = item.get("bbox")
            if not isinstance(box, list) or len(box) != 4 or not all(_finite(value) for value in box):
                raise self.error("annotations", index, f"bbox {box!r} is not [x, y, width, height]")
            x, y, w, h = (float(value) for value in box)
            if w < 0 or h < 0:
                raise self.error("annotations", index, f"bbox {box!r} has a negative side")
            _, width, height = images[image_id]
            edges = [x / width, y / height, (x + w) / width, (y + h) / height]
            if min(edges) < -0.02 or max(edges) > 1.02:
                raise self.error(
                    "annotations", index, f"bbox {box!r} leaves its image of {width:g}x{height:g}"
                )
            outline = self._outline(index, item, width, height) if outlines else ()
            found.append((image_id, (category, edges, outline)))
        return found

    def _outline(self, index: int, item: Mapping[str, object], width: float, height: float) -> Outline:
        polygons = item.get("segmentation")
        if not isinstance(polygons, list) or not polygons:
            raise self.error(
                "annotations",
                index,
                f"segmentation is {type(polygons).__name__}, expected a list of polygons",
            )
        for polygon in polygons:
            fits = isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
            if not fits or not all(_finite(value) for value in polygon):
                raise self.error(
                    "annotations", index, f"polygon {str(polygon)[:60]} is not x, y of three points or more"
                )
        return tuple(_polygon(polygon, width, height) for polygon in polygons)

    def _number(self, key: str, index: int, item: Mapping[str, object], field: str) -> int:
        value = item.get(field)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value != int(value):
            raise self.error(key, index, f"{field} {value!r} is not a whole number")
        return int(value)


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _labels(rows: Sequence[_Row], *, outlines: bool) -> BoxLabels:
    xyxy = np.array([box for _, box, _ in rows], np.float32).reshape(-1, 4).clip(0, 1)
    labels = np.array([label for label, _, _ in rows], np.int64)
    solid = np.flatnonzero((xyxy[:, 2:] > xyxy[:, :2]).all(axis=1))
    kept = tuple(rows[int(index)][2] for index in solid) if outlines else ()
    return BoxLabels(xyxy[solid], labels[solid], kept)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}") from error


def _check_files(files: Sequence[Path], annotations: Path) -> None:
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise SourceError(f"{missing} is named by {annotations} and does not exist; check the image folder")
