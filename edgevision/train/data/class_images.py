"""Reads images with one class each: folders of classes, a zip of them, or idx files; all into memory."""

from __future__ import annotations

import gzip
import re
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.datasets.image_check import accept, decode_all
from edgevision.errors import SourceError, UsageError
from edgevision.sources.image_files import IMAGE_SUFFIXES
from edgevision.train.data.pictures import Picture, shrunk

_TRAIN_NAMES = ("train", "training")
_HELD_NAMES = ("val", "valid", "validation")
_TEST_NAMES = ("test", "testing")
"""Never read: validation data selects the best weights, so a reported result needs other data."""
_IDX = {"images": re.compile(r"images.*idx3"), "labels": re.compile(r"labels.*idx1")}
_IDX_TYPE_UINT8 = 8


@dataclass(frozen=True, slots=True, eq=False)
class ClassDataset:
    """Images uint8 ``[H,W,3]`` BGR and int64 labels ``[N]``, indices into `classes`."""

    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    labels: npt.NDArray[np.int64]
    warnings: tuple[str, ...] = ()
    """Skipped items, one line each."""

    def __len__(self) -> int:
        return len(self.pictures)

    def counts(self) -> dict[str, int]:
        """Number of images of each class."""
        return {name: int((self.labels == label).sum()) for label, name in enumerate(self.classes)}

    def subset(self, indices: npt.NDArray[np.int64]) -> ClassDataset:
        """A subset of the images, with all classes."""
        pictures = tuple(self.pictures[i] for i in indices)
        return ClassDataset(self.classes, pictures, self.labels[indices], self.warnings)

    def with_images(self, pictures: Sequence[Picture], labels: npt.NDArray[np.int64]) -> ClassDataset:
        """The images, followed by further ones of the same classes."""
        return ClassDataset(
            self.classes, (*self.pictures, *pictures), np.concatenate((self.labels, labels)), self.warnings
        )


@dataclass(frozen=True, slots=True)
class ClassSplit:
    """Training and validation data."""

    train: ClassDataset
    held: ClassDataset
    source: str
    """Description of the split."""


def read_classes(
    data: Path, held: Path | None, *, longest_side: int, seed: int = 0, strict: bool = False
) -> ClassSplit:
    """Read ``[train/]CLASS/image`` of a folder or zip, or a folder of idx files.

    Validation data is `held` if given, else the data's own ``val/`` or ``valid/``, else a tenth of each class. A part
    ``test/`` is not read: validation data selects the best weights, so its result is not a test result. Images that
    cannot be decoded are skipped and listed, as in `image_check.accept`. Raises `UsageError` for any other input and
    `SourceError` if too many images cannot be decoded.
    """
    parts = _read(data, longest_side, strict=strict)
    train = next((parts[name] for name in (*_TRAIN_NAMES, "") if name in parts), None)
    if train is None:
        raise UsageError(f"{data} holds no train/ part; found {', '.join(parts)}")
    if held is not None:
        others = _read(held, longest_side, strict=strict)
        names = (*_HELD_NAMES, *_TEST_NAMES, "", *_TRAIN_NAMES)
        measured = next((others[name] for name in names if name in others), None)
        source = f"validation on {held} (--val)"
    else:
        name = next((name for name in _HELD_NAMES if name in parts), None)
        measured = None if name is None else parts[name]
        source = f"the split of {data}: its part {name}/"
    if measured is None:
        return _split(train, seed)
    return ClassSplit(train, _relabelled(measured, train.classes, held or data), source)


def _read(path: Path, longest_side: int, *, strict: bool) -> dict[str, ClassDataset]:
    """Data sets by the name of their part; "" if the classes are at the top."""
    if path.is_file() and zipfile.is_zipfile(path):
        return _from_entries(path, _zip_entries(path), longest_side, strict=strict)
    if path.is_dir():
        idx = _idx_pair(path)
        if idx is not None:
            return {"": _read_idx(*idx)}
        files = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in IMAGE_SUFFIXES]
        entries = {PurePosixPath(file.relative_to(path).as_posix()): file.read_bytes for file in files}
        return _from_entries(path, entries, longest_side, strict=strict)
    raise UsageError(f"{path} is neither a folder nor a zip; expected classes as folders, or idx files")


def _zip_entries(path: Path) -> dict[PurePosixPath, Callable[[], bytes]]:
    archive = zipfile.ZipFile(path)
    names = sorted(
        name for name in archive.namelist() if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
    )
    # Read here and decoded by many threads: a ZipFile supports only one reader at a time.
    content = {name: archive.read(name) for name in names}
    archive.close()
    return {PurePosixPath(name): (lambda name=name: content[name]) for name in names}  # type: ignore[misc]  # the default binds


def _from_entries(
    path: Path, entries: Mapping[PurePosixPath, Callable[[], bytes]], longest_side: int, *, strict: bool
) -> dict[str, ClassDataset]:
    entries = _below_single_folder(entries)
    grouped: dict[str, list[tuple[str, PurePosixPath]]] = {}
    known = {*_TRAIN_NAMES, *_HELD_NAMES, *_TEST_NAMES}
    for name in entries:
        part = name.parts[0] if len(name.parts) > 2 and name.parts[0] in known else ""
        if len(name.parts) < 2:
            raise UsageError(f"{path}: {name} is not in a class folder; expected [train/]CLASS/image")
        grouped.setdefault(part, []).append((name.parts[1 if part else 0], name))
    if not grouped:
        raise SourceError(f"{path} holds no image ({' '.join(IMAGE_SUFFIXES)})")
    found = {}
    for part, members in grouped.items():
        classes = tuple(sorted({label for label, _ in members}))
        found[part] = _decoded(path, classes, members, entries, longest_side, strict=strict)
    return found


def _decoded(
    path: Path,
    classes: tuple[str, ...],
    members: Sequence[tuple[str, PurePosixPath]],
    entries: Mapping[PurePosixPath, Callable[[], bytes]],
    longest_side: int,
    *,
    strict: bool,
) -> ClassDataset:
    """The images of a part that can be decoded; `members` are (class, name)."""

    def read(place: int) -> Picture:
        name = members[place][1]
        return _decode(entries[name](), f"{path}: {name}", longest_side)

    found, broken = decode_all(read, len(members))
    warnings = accept(broken, len(members), strict=strict)
    kept = [
        (label, picture) for (label, _), picture in zip(members, found, strict=True) if picture is not None
    ]
    labels = np.array([classes.index(label) for label, _ in kept], np.int64)
    return ClassDataset(classes, tuple(picture for _, picture in kept), labels, warnings)


def _below_single_folder(
    entries: Mapping[PurePosixPath, Callable[[], bytes]],
) -> Mapping[PurePosixPath, Callable[[], bytes]]:
    """Remove a single top folder, which many archives have and which is not a class."""
    while (
        entries and len({name.parts[0] for name in entries}) == 1 and all(len(n.parts) > 2 for n in entries)
    ):
        if next(iter(entries)).parts[0] in {*_TRAIN_NAMES, *_HELD_NAMES, *_TEST_NAMES}:
            break
        entries = {PurePosixPath(*name.parts[1:]): read for name, read in entries.items()}
    return entries


def _decode(content: bytes, where: str, longest_side: int) -> Picture:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if image is None:
        raise SourceError(f"{where} cannot be read as an image")
    return shrunk(np.asarray(image, np.uint8), longest_side)


def _idx_pair(folder: Path) -> tuple[Path, Path] | None:
    names = sorted(path for path in folder.iterdir() if path.is_file())
    images = [path for path in names if _IDX["images"].search(path.name)]
    labels = [path for path in names if _IDX["labels"].search(path.name)]
    if not images and not labels:
        return None
    train = [[p for p in found if "train" in p.name] or found for found in (images, labels)]
    if not train[0] or not train[1]:
        raise UsageError(f"{folder} holds idx images or labels, but not both")
    return train[0][0], train[1][0]


def _read_idx(images: Path, labels: Path) -> ClassDataset:
    pixels, numbers = _idx_array(images, 3), _idx_array(labels, 1)
    if len(pixels) != len(numbers):
        raise UsageError(f"{images} holds {len(pixels)} images, {labels} {len(numbers)} labels")
    classes = tuple(str(number) for number in range(int(numbers.max()) + 1))
    pictures = tuple(np.repeat(picture[..., None], 3, 2) for picture in pixels)
    return ClassDataset(classes, pictures, numbers.astype(np.int64))


def _idx_array(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """An idx file of bytes, gzipped or not (format: Y. LeCun, "The MNIST database", section "file formats")."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    header = 4 + 4 * dimensions
    if len(data) < header or data[:2] != b"\0\0" or data[2] != _IDX_TYPE_UINT8 or data[3] != dimensions:
        raise UsageError(
            f"{path} is not an idx file of {dimensions} dimensions of bytes: it begins with {data[:4].hex()}"
        )
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    expected = header + int(np.prod(shape))
    if len(data) != expected or 0 in shape:
        raise UsageError(
            f"{path} has the header {'x'.join(map(str, shape))}: expected {expected} bytes, received {len(data)}"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _split(data: ClassDataset, seed: int) -> ClassSplit:
    """Hold back a tenth of every class."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(data), np.bool_)
    for label in range(len(data.classes)):
        members = rng.permutation(np.flatnonzero(data.labels == label))
        held[members[: max(1, len(members) // 10)]] = True
    if held.all():
        raise UsageError(
            f"{len(data)} images of {len(data.classes)} classes are too few for a validation part"
        )
    source = "the data has no validation part: using a tenth of each class, selected by the seed"
    return ClassSplit(data.subset(np.flatnonzero(~held)), data.subset(np.flatnonzero(held)), source)


def _relabelled(data: ClassDataset, classes: Sequence[str], path: Path) -> ClassDataset:
    unknown = [name for name in data.classes if name not in classes]
    if unknown:
        raise UsageError(
            f"{path}: class {unknown[0]!r} of the validation data does not occur in the training data"
        )
    table = np.array([list(classes).index(name) for name in data.classes], np.int64)
    return ClassDataset(tuple(classes), data.pictures, table[data.labels], data.warnings)
