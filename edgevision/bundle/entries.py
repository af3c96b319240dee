"""Entries of a bundle's manifest: files and graphs with their records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevision.bundle.records import Verification
from edgevision.contract.spec import Precision
from edgevision.storage.sha256 import sha256_of_file


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the bundle with its hash and size when it was written."""

    name: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        if Path(self.name).name != self.name or self.name in ("", ".", ".."):
            raise ValueError(f"file name {self.name!r} leaves the bundle")


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured end-to-end speed of a graph in one engine on one machine, relative to the float graph."""

    engine: str
    library: str
    machine: str
    """Result of `device.machine_name`."""
    ratio: float
    """The float graph's time divided by this one's: the median of paired rounds."""
    created: str
    """UTC, ISO 8601."""


FormName = Literal["opset17"]
"""`opset17`: scales and the remainder in float32, for TensorRT 8.6, whose parser does not read FP16 scales."""


@dataclass(frozen=True, slots=True)
class GraphForm:
    """A graph with the same weights and scales, written for engines that cannot read the original."""

    name: FormName
    file: FileEntry
    verification: Verification


@dataclass(frozen=True, slots=True)
class GraphEntry:
    """One graph; `verifications` is empty if verification was skipped on purpose."""

    precision: Precision
    file: FileEntry
    """The ONNX file, or the program of a bundle with several graphs."""
    verifications: tuple[Verification, ...] = ()
    speeds: tuple[Speed, ...] = ()
    forms: tuple[GraphForm, ...] = ()
    data: tuple[FileEntry, ...] = ()
    """ONNX external data: weights that the ONNX file reads from files beside it."""

    @property
    def size_bytes(self) -> int:
        """Size of the graph with its weights."""
        return self.file.size_bytes + sum(file.size_bytes for file in self.data)

    def form(self, name: FormName) -> GraphForm | None:
        """The form of that name; None if the graph has none."""
        return next((form for form in self.forms if form.name == name), None)


CoderName = Literal["encoder", "decoder"]


@dataclass(frozen=True, slots=True)
class CoderEntry:
    """The bundle of an autoencoder's encoder or decoder, in a folder of the model's bundle."""

    name: CoderName
    """Of the folder."""
    sha256: str
    """Of its float graph."""


def coder_entry(folder: Path, sha256: str) -> CoderEntry:
    """The entry of a coder's folder; raises `ValueError` for another name than ``encoder`` and ``decoder``."""
    names: dict[str, CoderName] = {"encoder": "encoder", "decoder": "decoder"}
    if folder.name not in names:
        raise ValueError(f"a coder's folder is named {' or '.join(names)}; received {folder.name}")
    return CoderEntry(names[folder.name], sha256)


def file_entry(path: Path) -> FileEntry:
    """Name, hash and size of a file."""
    return FileEntry(path.name, sha256_of_file(path), path.stat().st_size)


def graph_file_name(precision: Precision, *, program: bool = False) -> str:
    """Name of a graph's file."""
    stem, suffix = ("program", ".json") if program else ("model", ".onnx")
    return f"{stem}{suffix}" if precision == "float" else f"{stem}.{precision}{suffix}"


def data_name(graph: str) -> str:
    """Name of the file with the external weights of a graph's file."""
    return f"{graph}.data"
