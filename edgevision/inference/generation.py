"""Images that a model makes from noise, one after another, with what is needed to make each of them again."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

import edgevision
from edgevision.contract.classes import class_name
from edgevision.contract.inputs import LARGEST_SEED, tensors_for
from edgevision.contract.session import Session
from edgevision.contract.spec import LARGEST_PIXELS, LARGEST_SIDE, ModelSpec
from edgevision.errors import MissingExtraError, UsageError
from edgevision.sinks.files.images import probe_folder
from edgevision.sinks.files.png import SUFFIX as PNG
from edgevision.sinks.files.png import XMP_KEYWORD, png_bytes, write_png
from edgevision.sinks.files.xmp import DigitalSource, xmp_packet

GAP = 2
"""Pixels between the images of a grid."""
WIDE_CLASSES = 16
"""Up to this number of classes, a grid of all classes has one column for each."""
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """What to make."""

    labels: tuple[int | str, ...] = ()
    """Classes by number or name, for the images in turn; empty: every class in turn."""
    seed: int = 0
    count: int = 1
    first: int = 0
    """Number of the first image."""
    text: str | None = None
    """What the images show, for a model that takes a text."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"count is {self.count}; expected at least 1")
        for name, value in (("seed", self.seed), ("number of the first image", self.first)):
            if not 0 <= value <= LARGEST_SEED - self.count:
                raise UsageError(f"the {name} is {value}; expected 0 to {LARGEST_SEED - self.count}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a generated image comes from."""

    model: str
    graph_sha256: str | None
    """Of the ONNX graph that ran; None for a graph that no bundle holds."""
    engine: str
    seed: int
    number: int
    """The image's number: the same seed, number and label give the same image."""
    label: int | None
    label_name: str | None
    text: str | None = None

    @property
    def file_stem(self) -> str:
        """Name of the image's file in a folder, without suffix."""
        return f"s{self.seed}-{self.number:05d}"

    def entries(self) -> dict[str, str]:
        """Text entries of a PNG file, by keyword."""
        return self.stated("trainedAlgorithmicMedia")

    def stated(self, source: DigitalSource) -> dict[str, str]:
        """The entries with IPTC's digital source type."""
        software = f"edgevision {edgevision.__version__}"
        found = {
            "Software": software,
            "Description": f"Image made by the model {self.model}",
            "edgevision:model": self.model,
            "edgevision:engine": self.engine,
            "edgevision:seed": str(self.seed),
            "edgevision:image": str(self.number),
        }
        if self.graph_sha256 is not None:
            found["edgevision:graph-sha256"] = self.graph_sha256
        if self.label is not None:
            found["edgevision:label"] = f"{self.label} {self.label_name}"
        if self.text is not None:
            found["edgevision:text"] = self.text
        return {**found, XMP_KEYWORD: xmp_packet(source, software)}


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedImage:
    """One image, uint8 ``[H,W,3]`` BGR, and its origin."""

    image: npt.NDArray[np.uint8]
    origin: Origin

    def png(self, *, metadata: bool = True) -> bytes:
        """The image as a PNG file; with `metadata` it states that a model made it, and how."""
        return png_bytes(self.image, self.origin.entries() if metadata else {})

    def save(self, path: Path | str, *, metadata: bool = True) -> None:
        """Write a PNG file, whole or not at all; raises `UsageError` for another suffix, `SinkError`."""
        write_png(Path(path), self.png(metadata=metadata))


@dataclass(frozen=True, slots=True, eq=False)
class Generation(Sequence[GeneratedImage]):
    """Images in the order of their numbers, all of one size."""

    items: tuple[GeneratedImage, ...]
    columns: int | None = None
    """Of a grid; None: about as many as rows, or one for each class."""

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> GeneratedImage: ...
    @overload
    def __getitem__(self, index: slice) -> Generation: ...

    def __getitem__(self, index: int | slice) -> GeneratedImage | Generation:
        return Generation(self.items[index], self.columns) if isinstance(index, slice) else self.items[index]

    def __repr__(self) -> str:
        height, width = self.items[0].image.shape[:2] if self.items else (0, 0)
        model = f" by {self.items[0].origin.model}" if self.items else ""
        return f"<{len(self)} images of {width}x{height} made{model}>"

    @property
    def images(self) -> npt.NDArray[np.uint8]:
        """All images, uint8 ``[N,H,W,3]`` BGR."""
        return np.stack([item.image for item in self.items])

    def grid(self, columns: int | None = None) -> npt.NDArray[np.uint8]:
        """One image of all of them, uint8 BGR, row by row; `columns` is that of the images by default.

        Of every class in turn, each has its own column. Raises `UsageError` for a grid that no file holds.
        """
        return image_grid([item.image for item in self.items], columns or self.columns or self._columns())

    def save(self, path: Path | str, *, metadata: bool = True) -> tuple[Path, ...]:
        """Write ``FILE.png`` with a grid, or a folder with one PNG file for each image; returns the files."""
        path = Path(path)
        if path.suffix == PNG:
            entries = grid_entries([item.origin for item in self.items]) if metadata else {}
            write_png(path, png_bytes(self.grid(), entries))
            return (path,)
        return tuple(save_in(path, item, metadata=metadata) for item in self.items)

    def _columns(self) -> int:
        labels = [item.origin.label for item in self.items]
        distinct = len(set(labels))
        in_turn = all(label == labels[place % distinct] for place, label in enumerate(labels))
        if in_turn and 1 < distinct <= min(WIDE_CLASSES, len(self) - 1):
            return distinct
        return math.ceil(math.sqrt(len(self)))


def generate_each(session: Session, options: GenerateOptions) -> Iterator[GeneratedImage]:
    """Make images in batches, one after another.

    Every call has the graph's usual batch size, and a last partial batch repeats its last row: so an image does not
    depend on the number of images. Raises `UsageError` for labels that the model lacks, a text without use or none
    where one is needed, and a model that takes frames; `EngineError` if the engine fails.
    """
    spec = session.spec
    refuse_editing(spec)
    labels, size = labels_of(spec, options.labels), spec.tensors.batch.opt
    tokens = tokens_of(session, options.text)
    end = options.first + options.count
    for start in range(options.first, end, size):
        numbers = range(start, min(start + size, end))
        chosen = [labels[number % len(labels)] if labels else 0 for number in numbers]
        rows_of_text = None if tokens is None else np.repeat(tokens[None], len(numbers), axis=0)
        tensors = tensors_for(spec.tensors, options.seed, numbers, chosen, rows_of_text)
        rows = np.arange(size).clip(max=len(numbers) - 1)
        (images,) = session.infer(tensors[rows])
        for number, label, image in zip(numbers, chosen, images, strict=False):
            known = label if labels else None
            name = None if known is None else class_name(spec.classes, known)
            origin = Origin(
                spec.name,
                session.graph_sha256,
                session.info.library,
                options.seed,
                number,
                known,
                name,
                options.text,
            )
            yield GeneratedImage(image, origin)


def refuse_editing(spec: ModelSpec) -> None:
    """Raise `UsageError` for a model that fills a region of an image."""
    if spec.tensors.of_kind("mask") is not None:
        raise UsageError(
            f"{spec.name} fills a region of an image; run: edgevision edit BUNDLE IMAGE --mask MASK -o FILE.png"
        )


def tokens_of(session: Session, text: str | None) -> npt.NDArray[np.int32] | None:
    """Tokens of a text for one image; None for a model that takes none.

    Raises `UsageError` if the text is missing or has no use, `MissingExtraError` without the library tokenizers.
    """
    takes_text = session.spec.tensors.of_kind("tokens") is not None
    if text is None and takes_text:
        raise UsageError(
            f"{session.spec.name} makes images from a text; pass one, such as 'a photo of a cat'"
        )
    if text is None:
        return None
    if not takes_text:
        raise UsageError(f"{session.spec.name} takes no text: omit it")
    try:
        from edgevision.inference.texts import TextTokens
    except ModuleNotFoundError as error:
        raise MissingExtraError("tokenizers", "text", "images from a text") from error
    return TextTokens(session.spec, session.tokenizers)(text)


def labels_of(spec: ModelSpec, wanted: Sequence[int | str]) -> tuple[int, ...]:
    """The numbers of classes by number or name; every class without `wanted`, none of a model without classes.

    Raises `UsageError` for a class that the model lacks, with the nearest name, and for a part of a pipeline.
    """
    if spec.task == "part":
        raise UsageError(f"{spec.name} is one graph of several; pass the bundle that contains it")
    label = spec.tensors.of_kind("label")
    if label is None:
        if wanted:
            raise UsageError(
                f"{spec.name} has no classes to choose from; received {wanted[0]!r}: omit the label"
            )
        return ()
    return tuple(_label(spec, one, label.limit) for one in wanted) or tuple(range(label.limit))


def _label(spec: ModelSpec, wanted: int | str, count: int) -> int:
    """A name is looked up first, so that classes may be named by numbers."""
    if isinstance(wanted, str) and wanted in spec.classes:
        return spec.classes.index(wanted)
    if isinstance(wanted, int) or wanted.isdecimal():
        if 0 <= int(wanted) < count:
            return int(wanted)
        raise UsageError(
            f"{spec.name} has {count} classes; expected a label from 0 to {count - 1}; received {wanted}"
        )
    near = difflib.get_close_matches(wanted, spec.classes, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    more = ", ..." if len(spec.classes) > _SHOWN else ""
    raise UsageError(
        f"{spec.name} has no class {wanted!r}; {hint}classes: {', '.join(spec.classes[:_SHOWN])}{more}"
    )


def image_grid(images: Sequence[npt.NDArray[np.uint8]], columns: int) -> npt.NDArray[np.uint8]:
    """Images of one size row by row, with white gaps; raises `UsageError` for a grid that no file holds."""
    if not images or columns < 1:
        raise UsageError(
            f"expected images and at least one column; received {len(images)} images, {columns} columns"
        )
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    grid_wh = columns * (width + GAP) - GAP, rows * (height + GAP) - GAP
    if max(grid_wh) > LARGEST_SIDE or grid_wh[0] * grid_wh[1] > LARGEST_PIXELS:
        raise UsageError(
            f"a grid of {len(images)} images of {width}x{height} has {grid_wh[0]}x{grid_wh[1]} pixels; expected at most"
            f" {LARGEST_PIXELS / 1e6:,.0f} million: write a folder instead, or fewer images"
        )
    grid = np.full((grid_wh[1], grid_wh[0], 3), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * (height + GAP), place % columns * (width + GAP)
        grid[top : top + height, left : left + width] = image
    return grid


def grid_entries(origins: Sequence[Origin]) -> dict[str, str]:
    """Text entries of a grid's file: those that all images share, the numbers, and the labels in order."""
    entries = origins[0].entries()
    for origin in origins[1:]:
        other = origin.entries()
        entries = {key: text for key, text in entries.items() if other.get(key) == text}
    labels = [origin.label_name for origin in origins if origin.label_name is not None]
    entries["edgevision:images"] = f"{origins[0].number} to {origins[-1].number}"
    if labels:
        entries["edgevision:labels"] = ", ".join(labels)
    return entries


def save_in(folder: Path, item: GeneratedImage, *, metadata: bool) -> Path:
    """Write one image into a folder, named by its origin."""
    path = folder / f"{item.origin.file_stem}{PNG}"
    write_png(path, item.png(metadata=metadata))
    return path


def check_output(path: Path) -> None:
    """Raise `UsageError` or `SinkError` if images cannot be written there, before the work."""
    if path.suffix and path.suffix != PNG and not path.is_dir():
        raise UsageError(
            f"output {path} is neither a folder nor a file named *{PNG}; received the suffix {path.suffix}"
        )
    if path.suffix == PNG and path.is_dir():
        raise UsageError(f"output {path} is a folder; choose another name for the file")
    if path.suffix != PNG and path.is_file():
        raise UsageError(f"output {path} is a file; expected a folder, or a file named *{PNG}")
    probe_folder(path.parent if path.suffix == PNG else path)


def write_each(
    images: Iterator[GeneratedImage],
    path: Path,
    *,
    metadata: bool,
    on_image: Callable[[], None] = lambda: None,
) -> int:
    """Write images to a folder as they are made, or one grid at the end; returns the number of images."""
    kept, count = [], 0
    for item in images:
        if path.suffix == PNG:
            kept.append(item)
        else:
            save_in(path, item, metadata=metadata)
        count += 1
        on_image()
    if kept:
        Generation(tuple(kept)).save(path, metadata=metadata)
    return count
