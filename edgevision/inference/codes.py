"""Codes of an autoencoder: what is kept of images, in memory and in a file."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from edgevision.errors import SinkError, SourceError, UsageError
from edgevision.storage import atomic

SUFFIX = ".npz"
MOST_BYTES = 1 << 30
"""Largest content of a file of codes, unpacked."""
CodeType = Literal["float16", "float32"]


@dataclass(frozen=True, slots=True, eq=False)
class Codes(Sequence["Codes"]):
    """Codes of images in their order, and what decoding them needs; each item is one code."""

    values: npt.NDArray[np.floating[Any]]
    """float16 or float32 ``[N,K]``."""
    labels: npt.NDArray[np.integer[Any]]
    """The class of each image ``[N]``."""
    names: tuple[str, ...]
    """Of the images' files; "" for arrays."""
    source_sha256: str = ""
    """Of the checkpoint of the encoder; empty if it is unknown."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype not in (np.float16, np.float32):
            raise UsageError(
                f"codes are {self.values.dtype} {list(self.values.shape)}; expected float16 or float32 [N, K]"
            )
        if self.labels.shape != (len(self.values),) or self.labels.dtype.kind not in "iu":
            raise UsageError(
                f"labels of {len(self.values)} codes are {self.labels.dtype} {list(self.labels.shape)}; expected whole"
                f" numbers [{len(self.values)}]"
            )
        if len(self.names) != len(self.values):
            raise UsageError(f"{len(self.values)} codes have {len(self.names)} names; expected one for each")
        if not np.isfinite(self.values).all():
            hint = " or exceed float16: store them as float32" if self.values.dtype == np.float16 else ""
            raise UsageError(f"codes contain NaN or infinite values{hint}")

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Codes: ...
    @overload
    def __getitem__(self, index: slice) -> Codes: ...

    def __getitem__(self, index: int | slice) -> Codes:
        if isinstance(index, int):
            place = range(len(self))[index]
            index = slice(place, place + 1)
        return Codes(self.values[index], self.labels[index], self.names[index], self.source_sha256)

    def __repr__(self) -> str:
        return f"<{len(self)} codes of {self.values.shape[1]} values, {self.bytes_per_image} bytes each>"

    @property
    def bytes_per_image(self) -> int:
        """Bytes of one image's code and label."""
        return int(self.values.shape[1] * self.values.itemsize + self.labels.itemsize)

    def save(self, path: Path | str) -> None:
        """Write ``FILE.npz``, whole or not at all; raises `UsageError` for another suffix, `SinkError`."""
        path = Path(path)
        check_codes_file(path)
        memory = io.BytesIO()
        np.savez_compressed(
            memory,
            codes=self.values,
            labels=self.labels,
            names=np.array(self.names, np.str_),
            source_sha256=np.array(self.source_sha256),
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_file(path, memory.getvalue())
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path | str) -> Codes:
        """Read what `save` wrote; raises `SourceError` for a file that cannot be read, `UsageError` for its content."""
        path = Path(path)
        try:
            arrays = _arrays(path)
            names, source = arrays["names"], arrays["source_sha256"]
            if names.ndim != 1 or names.dtype.kind != "U" or source.dtype.kind != "U" or source.ndim:
                raise ValueError(f"names are {names.dtype} {list(names.shape)}; expected text")
            found = arrays["codes"], arrays["labels"], tuple(map(str, names)), str(source)
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
        except (
            KeyError,
            ValueError,
            EOFError,
            RuntimeError,
            MemoryError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise SourceError(
                f"{path} is not a file of codes: {error}; write one: edgevision encode BUNDLE IMAGES -o codes.npz"
            ) from error
        try:
            return cls(*found)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error


def codes_of_type(values: npt.NDArray[np.float32], kind: CodeType) -> npt.NDArray[np.floating[Any]]:
    """Values in the type of the file; those beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(kind)


def joined(parts: Sequence[Codes]) -> Codes:
    """All codes of one model in one object; raises `UsageError` for none, and for codes of different models."""
    if not parts:
        raise UsageError("no images were received; expected at least one")
    sizes = sorted({part.values.shape[1] for part in parts})
    if len(sizes) != 1 or len({part.source_sha256 for part in parts if part.source_sha256}) > 1:
        raise UsageError(
            f"expected codes of one model; received codes of {sizes} values, or of several models"
        )
    return Codes(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.labels for part in parts]),
        tuple(name for part in parts for name in part.names),
        next((part.source_sha256 for part in parts if part.source_sha256), ""),
    )


def check_codes_file(path: Path) -> None:
    """Raise `UsageError` unless the path names a file of codes."""
    if path.suffix != SUFFIX or path.is_dir():
        raise UsageError(f"output {path} is not a file named *{SUFFIX}")


def _arrays(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """The arrays of a file, without executing anything from it."""
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MOST_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes; expected at most {MOST_BYTES:,}")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: np.asarray(arrays[name]) for name in ("codes", "labels", "names", "source_sha256")}
