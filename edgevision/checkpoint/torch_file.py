"""Reads the containers of torch.save: a pickle and the memory of its tensors."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from edgevision.checkpoint.pickled import PickledGlobal, PickledStorage, storage_dtype
from edgevision.checkpoint.unpickle import unpickle
from edgevision.errors import CheckpointError

ByteOrder = Literal["little", "big"]

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled number at the start of files of torch before 1.6."""

_LEGACY_PROTOCOL = 1001


def read_torch_zip(path: Path) -> object:
    """Read a file of torch.save 1.6 or later: plain values, tensors, stand-ins; raises `CheckpointError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _checked_entries(archive, path.stat().st_size)
            prefix = _pickle_prefix(entries)
            storages = _ZipStorages(archive, entries, prefix)
            return unpickle(io.BytesIO(archive.read(entries[f"{prefix}data.pkl"])), storages.load)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"truncated or damaged: {str(error)[:200]}") from error


def read_torch_legacy(path: Path) -> object:
    """Read a file of torch.save before 1.6: five pickles, followed by the storages."""
    stream = io.BytesIO(path.read_bytes())
    magic, protocol = (unpickle(stream, _no_storage) for _ in range(2))
    if protocol != _LEGACY_PROTOCOL or not isinstance(magic, int):
        raise CheckpointError(f"legacy torch file of protocol {protocol!r}, expected {_LEGACY_PROTOCOL}")
    system = unpickle(stream, _no_storage)
    little = system.get("little_endian", True) if isinstance(system, dict) else True
    start = stream.tell()
    # The storages follow the pickle that refers to them: read it twice, first for its end and references.
    sizes = _LegacySizes()
    unpickle(stream, sizes.load)
    keys = unpickle(stream, _no_storage)
    storages = _LegacyStorages(stream, keys, sizes.dtypes, "little" if little else "big")
    stream.seek(start)
    return unpickle(stream, storages.load)


def _checked_entries(archive: zipfile.ZipFile, file_size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by name: unique, uncompressed, unencrypted, and together no larger than the file."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = ascii(info.filename[:80])
        if info.filename in entries:
            raise CheckpointError(f"zip entry {name} is duplicated")
        if (
            info.compress_type != zipfile.ZIP_STORED
            or info.flag_bits & 1
            or info.compress_size != info.file_size
        ):
            raise CheckpointError(f"zip entry {name} is compressed or encrypted; torch.save does neither")
        entries[info.filename] = info
    declared = sum(info.file_size for info in entries.values())
    if declared > file_size:
        raise CheckpointError(f"its zip entries declare {declared:,} bytes in a file of {file_size:,}")
    return entries


def _pickle_prefix(entries: dict[str, zipfile.ZipInfo]) -> str:
    found = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(found) != 1:
        raise CheckpointError("a zip file that torch.save did not write: it has no data.pkl")
    prefix = found[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in entries:
        raise CheckpointError(
            "a TorchScript archive, which holds code; expected a checkpoint: save model.state_dict()"
        )
    return prefix


class _ZipStorages:
    """Storages as zip entries ``data/KEY``; each is read once, when a tensor first refers to it."""

    def __init__(self, archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], prefix: str) -> None:
        self._archive = archive
        self._entries = entries
        self._prefix = prefix
        self._loaded: dict[str, PickledStorage] = {}
        order = archive.read(entries[f"{prefix}byteorder"]) if f"{prefix}byteorder" in entries else b"little"
        self._order = _byte_order(order)

    def load(self, reference: object) -> PickledStorage:
        key, dtype, count = _storage_reference(reference, 5)
        entry = self._entries.get(f"{self._prefix}data/{key}")
        if entry is None:
            raise CheckpointError(f"storage {key[:80]!a} is missing; the file is truncated or modified")
        if entry.file_size != count * dtype.itemsize:
            raise CheckpointError(
                f"storage {key[:80]!a} has {entry.file_size:,} bytes, expected {count * dtype.itemsize:,}"
            )
        if key not in self._loaded:
            memory = bytearray(self._archive.read(entry))
            self._loaded[key] = PickledStorage(_flat_tensor(memory, dtype, self._order))
        return _as_dtype(self._loaded[key], dtype)


class _LegacySizes:
    """Records dtype and size of each storage that a pickle refers to; returns tensors without memory."""

    def __init__(self) -> None:
        self.dtypes: dict[str, tuple[torch.dtype, int]] = {}

    def load(self, reference: object) -> PickledStorage:
        key, dtype, count = _storage_reference(reference, 6)
        self.dtypes[key] = (dtype, count)
        return PickledStorage(torch.empty(count, dtype=dtype, device="meta"))


class _LegacyStorages:
    """Consecutive storages: a count of elements in 8 bytes, then the elements."""

    def __init__(
        self, stream: io.BytesIO, keys: object, dtypes: dict[str, tuple[torch.dtype, int]], order: ByteOrder
    ) -> None:
        if not isinstance(keys, list) or set(map(str, keys)) != set(dtypes):
            raise CheckpointError(
                "its list of storages does not match its tensors; the file is truncated or modified"
            )
        self._loaded: dict[str, PickledStorage] = {}
        for key in map(str, keys):
            dtype, expected = dtypes[key]
            count = int.from_bytes(stream.read(8), order, signed=True)
            if count != expected:
                raise CheckpointError(f"storage {key[:80]!a} has {count:,} elements, expected {expected:,}")
            memory = bytearray(stream.read(count * dtype.itemsize))
            if len(memory) != count * dtype.itemsize:
                raise CheckpointError(f"truncated: storage {key[:80]!a} ends after {len(memory):,} bytes")
            self._loaded[key] = PickledStorage(_flat_tensor(memory, dtype, order))

    def load(self, reference: object) -> PickledStorage:
        key, dtype, _ = _storage_reference(reference, 6)
        return _as_dtype(self._loaded[key], dtype)


def _storage_reference(reference: object, length: int) -> tuple[str, torch.dtype, int]:
    """Key, dtype and number of elements from a persistent id, all of them checked."""
    if not isinstance(reference, tuple) or len(reference) != length or reference[0] != "storage":
        raise CheckpointError("damaged pickle: a reference to something other than a storage")
    _, kind, key, _location, count = reference[:5]
    dtype = storage_dtype(kind) if isinstance(kind, PickledGlobal) else None
    if dtype is None or not isinstance(key, str) or type(count) is not int or not 0 <= count < 1 << 48:
        raise CheckpointError("damaged pickle: a reference to a storage without type, key or size")
    if length > 5 and reference[5] is not None:
        raise CheckpointError(
            "a storage that is a view of another; load the file with torch >= 1.6 and save it again"
        )
    return key, dtype, count


def _no_storage(_reference: object) -> PickledStorage:
    raise CheckpointError("damaged pickle: an unexpected storage")


def _byte_order(text: bytes) -> ByteOrder:
    if text == b"little":
        return "little"
    if text == b"big":
        return "big"
    raise CheckpointError(f"byte order {text[:20]!r}, expected little or big")


def _flat_tensor(memory: bytearray, dtype: torch.dtype, order: ByteOrder) -> torch.Tensor:
    if not memory:
        return torch.empty(0, dtype=dtype)
    width = dtype.itemsize // 2 if dtype.is_complex else dtype.itemsize
    if order != sys.byteorder and width > 1:
        np.frombuffer(memory, f"u{width}").byteswap(inplace=True)
    return torch.frombuffer(memory, dtype=dtype)


def _as_dtype(storage: PickledStorage, dtype: torch.dtype) -> PickledStorage:
    return storage if storage.flat.dtype == dtype else PickledStorage(storage.flat.view(dtype))
