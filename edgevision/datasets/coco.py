"""Reads COCO annotation files of any tool, for training, evaluation, quantization and explanation.

The format: https://cocodataset.org/#format-data. Tools leave fields out, number ids arbitrarily, or write strings.
Unambiguous deviations are accepted. Everything else is an error that names file, line, entry and value. Skipped or
changed items are counted in a warning.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from edgevision.datasets.boxes import (
    BoxDataset,
    BoxLabels,
    BoxRow,
    ClassNames,
    Outline,
    read_text,
    require_files,
)
from edgevision.datasets.json_lines import line_of_item
from edgevision.datasets.masks import outline_from_rle, problem_of_rle
from edgevision.errors import SourceError, UsageError
from edgevision.sources.image_files import read_image

_CUT_PX = 1.0
"""A box that exceeds its image by more than this is clipped and counted; less is rounding."""

Segmentation = list[list[float]] | dict[str, object]
"""Polygons ``[[x, y, ...], ...]`` in pixels, or a run-length code ``{"size": [H, W], "counts": ...}``."""


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image and its size in pixels; `id` is the file's own if all ids are numbers, else its position."""

    id: int
    file: Path
    size_wh: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class CocoBox:
    """One checked annotation: the box lies in its image and has an area, unless it is a crowd."""

    image_id: int
    category_id: int
    xywh: tuple[float, float, float, float]
    """In pixels."""
    area: float
    crowd: bool
    segmentation: Segmentation | None
    keypoints: tuple[float, ...] | None
    """x, y and visibility of each; None without keypoints."""


@dataclass(frozen=True, slots=True, eq=False)
class CocoFile:
    """A checked file."""

    path: Path
    images: tuple[CocoImage, ...]
    """In order of their ids."""
    categories: Mapping[int, str]
    boxes: tuple[CocoBox, ...]
    warnings: tuple[str, ...]


def read_coco_file(annotations: Path, folder: Path, *, segmentation: bool = False) -> CocoFile:
    """Read and check a file whose images are in `folder`; with `segmentation` every object must have an outline.

    Raises `UsageError` for a file in another format or an invalid label, `SourceError` for a missing image.
    """
    text = read_text(annotations)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{annotations}:{error.lineno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise UsageError(f"{annotations} is nested too deep to be a COCO annotation file") from error
    reader = _Reader(annotations, folder, text, content)
    categories = reader.categories()
    images = reader.images()
    boxes = reader.boxes(images, segmentation=segmentation)
    ordered = tuple(sorted(images.values(), key=lambda image: image.id))
    return CocoFile(annotations, ordered, categories, tuple(boxes), reader.warnings())


def read_coco(
    annotations: Path, folder: Path, wanted: ClassNames | None = None, *, outlines: bool = False
) -> BoxDataset:
    """Read a COCO annotation file; without `wanted` every category is a class, in order of its id.

    Boxes of other categories and crowd regions are skipped; with `outlines` polygons are read too. Raises the errors of
    `read_coco_file`.
    """
    found = read_coco_file(annotations, folder, segmentation=outlines)
    if wanted is None:
        wanted = ClassNames(tuple(found.categories[key] for key in sorted(found.categories)))
    label_of = wanted.label_of()
    if not set(label_of) & set(found.categories.values()):
        raise UsageError(
            f"{annotations} has none of the classes {', '.join(label_of)}; its categories:"
            f" {', '.join(sorted(found.categories.values()))}"
        )
    sizes = {image.id: image.size_wh for image in found.images}
    rows: dict[int, list[BoxRow]] = {key: [] for key in sizes}
    for box in found.boxes:
        label = label_of.get(found.categories[box.category_id])
        if label is None or box.crowd:
            continue
        (x, y, w, h), (width, height) = box.xywh, sizes[box.image_id]
        edges = (x / width, y / height, (x + w) / width, (y + h) / height)
        outline = _outline(box.segmentation, (width, height)) if outlines else ()
        rows[box.image_id].append(BoxRow(label, edges, outline))
    labels = tuple(BoxLabels.from_rows(rows[image.id], outlines=outlines) for image in found.images)
    return BoxDataset(wanted.names, tuple(i.file for i in found.images), labels, found.warnings)


def polygon(values: list[float], size_wh: tuple[float, float]) -> npt.NDArray[np.float32]:
    """float32 ``[n,2]`` as fractions of the sides, from x, y, x, y, ... in units of `size_wh`."""
    points = np.array(values, np.float32).reshape(-1, 2)
    return (points / np.array(size_wh, np.float32)).clip(0, 1)


def _outline(segmentation: Segmentation | None, size_wh: tuple[float, float]) -> Outline:
    if isinstance(segmentation, dict):
        return outline_from_rle(segmentation)
    return tuple(polygon(points, size_wh) for points in segmentation or [])


@dataclass(eq=False)
class _Reader:
    """Reads a decoded file; errors name the line on which the faulty item begins."""

    path: Path
    folder: Path
    text: str
    content: object
    counts: Counter[str] = field(default_factory=Counter)
    lists: dict[str, list[Mapping[str, object]]] = field(default_factory=dict)
    image_keys: dict[Hashable, int] = field(default_factory=dict)
    category_keys: dict[Hashable, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.content, dict):
            raise UsageError(f"{self.path}:1: expected a JSON object; received {type(self.content).__name__}")
        for key in ("images", "annotations", "categories"):
            items = self.content.get(key)
            if not isinstance(items, list):
                raise UsageError(f"{self.path} is not a COCO annotation file: it has no list {key!r}")
            for index, item in enumerate(items):
                if not isinstance(item, dict):
                    raise self.error(key, index, f"expected an object; received {item!r}")
            self.lists[key] = items

    def error(self, key: str, index: int, problem: str) -> UsageError:
        line = line_of_item(self.text, key, index)
        return UsageError(f"{self.path}:{line}: {key}[{index}]: {problem}")

    def warnings(self) -> tuple[str, ...]:
        return tuple(f"{self.path}: {count} {what}" for what, count in self.counts.items())

    def categories(self) -> dict[int, str]:
        keys = self._keys("categories")
        self.category_keys = keys
        names: dict[int, str] = {}
        for index, item in enumerate(self.lists["categories"]):
            if not isinstance(item.get("name"), str):
                raise self.error("categories", index, f"name {item.get('name')!r} is not a text")
            names[keys[self._id("categories", index, item, "id")]] = str(item["name"])
        return names

    def images(self) -> dict[int, CocoImage]:
        self.image_keys = self._keys("images")
        found: dict[int, CocoImage] = {}
        for index, item in enumerate(self.lists["images"]):
            name = item.get("file_name")
            if not isinstance(name, str) or not name:
                raise self.error("images", index, f"file_name {name!r} is not a name")
            file = self._file(index, name)
            key = self.image_keys[self._id("images", index, item, "id")]
            found[key] = CocoImage(key, file, self._size(index, item, file))
        require_files([image.file for image in found.values()], self.path)
        return found

    def boxes(self, images: Mapping[int, CocoImage], *, segmentation: bool) -> list[CocoBox]:
        self._count_repeated_ids()
        found = []
        for index, item in enumerate(self.lists["annotations"]):
            image = self._reference(index, item, "image_id", self.image_keys, "the images")
            category = self._reference(index, item, "category_id", self.category_keys, "the categories")
            crowd = bool(item.get("iscrowd"))
            outline = self._segmentation(index, item, required=segmentation and not crowd)
            xywh = self._box(index, item, images[image], crowd=crowd)
            if xywh is None:
                continue
            area = item.get("area")
            found.append(
                CocoBox(
                    image,
                    category,
                    xywh,
                    float(area) if _finite(area) else xywh[2] * xywh[3],  # type: ignore[arg-type]  # a number
                    crowd,
                    outline,
                    self._keypoints(index, item),
                )
            )
        return found

    def _keys(self, key: str) -> dict[Hashable, int]:
        """The number for each id of a list: its own if all are numbers, else its position, from 1."""
        ids = [self._id(key, index, item, "id") for index, item in enumerate(self.lists[key])]
        repeated = (
            next((i for i, value in enumerate(ids) if value in ids[:i]), None)
            if len(set(ids)) < len(ids)
            else None
        )
        if repeated is not None:
            raise self.error(key, repeated, f"id {ids[repeated]!r} is used by another item, too")
        if all(isinstance(value, int) for value in ids):
            return {value: int(value) for value in ids}  # type: ignore[call-overload]  # all are int
        return {value: place for place, value in enumerate(ids, 1)}

    def _id(self, key: str, index: int, item: Mapping[str, object], name: str) -> Hashable:
        value = item.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, (int, float)) and _finite(value) and value == int(value):
            return int(value)
        raise self.error(key, index, f"{name} {value!r} is neither a whole number nor a text")

    def _reference(
        self, index: int, item: Mapping[str, object], name: str, keys: Mapping[Hashable, int], among: str
    ) -> int:
        value = self._id("annotations", index, item, name)
        if value not in keys:
            raise self.error("annotations", index, f"{name} {value!r} is not among {among}")
        return keys[value]

    def _file(self, index: int, name: str) -> Path:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
            problem = (
                f"file_name {name!r} leaves the folder of the images; expected a name below {self.folder}"
            )
            raise self.error("images", index, problem)
        file = self.folder / parts
        # Some tools put the folder's own name in front of the file name.
        return self.folder / parts.name if not file.is_file() and len(parts.parts) > 1 else file

    def _size(self, index: int, item: Mapping[str, object], file: Path) -> tuple[float, float]:
        width, height = item.get("width"), item.get("height")
        if width is None and height is None and file.is_file():
            shape = read_image(file).shape
            return float(shape[1]), float(shape[0])
        for name, value in (("width", width), ("height", height)):
            if not _finite(value) or float(value) < 1:  # type: ignore[arg-type]  # a number
                raise self.error("images", index, f"{name} {value!r} is not a positive number of pixels")
        return float(width), float(height)  # type: ignore[arg-type]  # checked above

    def _count_repeated_ids(self) -> None:
        ids = [str(item.get("id")) for item in self.lists["annotations"] if item.get("id") is not None]
        repeated = len(ids) - len(set(ids))
        if repeated:
            self.counts["annotations have a duplicate id: all are used, ids are renumbered"] = repeated

    def _box(
        self, index: int, item: Mapping[str, object], image: CocoImage, *, crowd: bool
    ) -> tuple[float, float, float, float] | None:
        box = item.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(_finite(value) for value in box):
            raise self.error("annotations", index, f"bbox {box!r} is not [x, y, width, height]")
        x, y, w, h = (float(value) for value in box)
        if crowd:
            return x, y, w, h
        width, height = image.size_wh
        if w <= 0 or h <= 0:
            self.counts["boxes without area or with a negative side are skipped"] += 1
            return None
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            self.counts["boxes outside their image are skipped"] += 1
            return None
        if min(x, y) >= -_CUT_PX and x + w <= width + _CUT_PX and y + h <= height + _CUT_PX:
            return x, y, w, h
        self.counts["boxes that exceed their image are clipped at its edge"] += 1
        left, top = max(x, 0.0), max(y, 0.0)
        return left, top, min(x + w, width) - left, min(y + h, height) - top

    def _segmentation(self, index: int, item: Mapping[str, object], *, required: bool) -> Segmentation | None:
        """The outline; an invalid one is an error if `required`, else None."""
        found = item.get("segmentation")
        problem = None
        if isinstance(found, dict):
            problem = problem_of_rle(found)
            if problem is None:
                return found
        elif not isinstance(found, list) or not found:
            problem = f"segmentation is {type(found).__name__}, expected a list of polygons"
        else:
            wrong = next((points for points in found if not _is_polygon(points)), None)
            if wrong is None:
                return found
            problem = f"polygon {str(wrong)[:60]} is not x, y of three points or more"
        if required:
            raise self.error("annotations", index, problem)
        return None

    def _keypoints(self, index: int, item: Mapping[str, object]) -> tuple[float, ...] | None:
        found = item.get("keypoints")
        if found is None or found == []:
            return None
        if not isinstance(found, list) or len(found) % 3 or not all(_finite(value) for value in found):
            raise self.error(
                "annotations", index, f"keypoints {str(found)[:60]} are not x, y, visibility of each"
            )
        return tuple(float(value) for value in found)


def _is_polygon(points: object) -> bool:
    fits = isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0
    return fits and all(_finite(value) for value in points)  # type: ignore[attr-defined]  # a list, if it fits


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def image_folder(annotations: Path, images: Path | None) -> Path:
    """The folder of an annotation file's images: `images`, or the usual places of tools.

    These are the folder named as the file next to it, the file's own folder with or without ``images/`` or ``data/``,
    or the same next to a folder ``annotations/``. Raises `SourceError` if none contains the first image.
    """
    if images is not None:
        return images
    parent = annotations.parent
    named = annotations.with_suffix("")
    if named.is_dir():
        return named
    above, part = parent.parent, annotations.stem.rpartition("_")[2]
    candidates = (
        parent,
        parent / "images",
        parent / "data",
        # annotations/instances_train2017.json next to train2017/, images/train2017/ or images/
        above / part,
        above / "images" / part,
        above / "images",
    )
    first = _first_name(annotations)
    for folder in candidates:
        if first and ((folder / first).is_file() or (folder / PurePosixPath(first).name).is_file()):
            return folder
    raise SourceError(f"the images of {annotations} are not in {named}; set the folder with --images")


def _first_name(annotations: Path) -> str | None:
    try:
        content = json.loads(read_text(annotations))
        name = content["images"][0]["file_name"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return name if isinstance(name, str) else None
