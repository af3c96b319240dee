"""The spec and the opset of an ONNX file, read without an engine's library.

Only the top-level fields of the file's protobuf message are parsed; the graph is skipped, whatever its size. The field
numbers are those of ``ModelProto``, ``StringStringEntryProto`` and ``OperatorSetIdProto`` in onnx.proto.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edgevision.contract.spec import METADATA_KEY, ModelSpec
from edgevision.errors import GraphError
from edgevision.storage.codec import DecodeError

FLOAT32_KEY = "edgevision.float32"
"""Metadata of a graph with an FP16 remainder: a JSON list of the nodes outside of it. Forms without FP16 types have it
too, for builders that choose types themselves.
"""
KEPT_KEY = "edgevision.kept_float"
"""Metadata of an INT8 graph: a JSON list of the nodes with weights that were returned to float for accuracy."""
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2
_OPSET_IMPORT, _DOMAIN, _VERSION = 8, 1, 2
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LARGEST_ENTRY = 64 << 20


class MissingSpecError(GraphError):
    """An ONNX file without a spec: another program exported it."""

    def __init__(self, message: str, graph: Path) -> None:
        super().__init__(message)
        self.graph = graph


def adopt_command(graph: Path, *options: str) -> str:
    """The command that adds a spec to an ONNX file."""
    target = graph.with_suffix("") if graph.suffix else graph.with_name(f"{graph.name}-bundle")
    return " ".join(("edgevision adopt", shlex.quote(str(graph)), *options, "-o", shlex.quote(str(target))))


def embedded_spec(graph: Path) -> ModelSpec:
    """The spec in an ONNX file's metadata.

    Raises `MissingSpecError` if there is none, and `GraphError` if it cannot be read.
    """
    try:
        with graph.open("rb") as file:
            text = next((value for key, value in _metadata(file) if key == METADATA_KEY), None)
    except OSError as error:
        raise GraphError(f"cannot read {graph}: {error.strerror or error}") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise GraphError(f"{graph} is not an ONNX file, or it is truncated: {error}") from error
    if text is None:
        raise MissingSpecError(f"{graph} has no edgevision spec; run: {adopt_command(graph)}", graph)
    try:
        return ModelSpec.from_json(text)
    except DecodeError as error:
        raise GraphError(f"{graph}: the spec in its metadata is invalid: {error}") from error


def embedded_nodes(graph: Path, key: str) -> frozenset[str] | None:
    """Names of the nodes stored under `FLOAT32_KEY` or `KEPT_KEY`; None if there is no such entry.

    Raises `GraphError` if the file cannot be read.
    """
    try:
        with graph.open("rb") as file:
            text = next((value for name, value in _metadata(file) if name == key), None)
        return None if text is None else frozenset(map(str, json.loads(text)))
    except OSError as error:
        raise GraphError(f"cannot read {graph}: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise GraphError(f"{graph} is not an ONNX file, or its metadata was altered: {error}") from error


def embedded_opset(graph: Path) -> int:
    """The version of the standard operators that an ONNX file uses; raises `GraphError` if there is none."""
    try:
        with graph.open("rb") as file:
            versions = [_version(data) for data in _entries(file, _OPSET_IMPORT)]
    except OSError as error:
        raise GraphError(f"cannot read {graph}: {error.strerror or error}") from error
    except ValueError as error:
        raise GraphError(f"{graph} is not an ONNX file, or it is truncated: {error}") from error
    standard = [version for version in versions if version]
    if not standard:
        raise GraphError(f"{graph} has no opset of the standard operators; expected a graph of edgevision")
    return max(standard)


def _version(data: bytes) -> int:
    """The version in an ``OperatorSetIdProto`` of the standard operators; 0 for those of another domain."""
    domain, version, place = b"", 0, 0
    while place < len(data):
        tag, place = varint_at(data, place)
        if tag & 7 == _VARINT:
            value, place = varint_at(data, place)
            version = value if tag >> 3 == _VERSION else version
        elif tag & 7 == _LENGTH:
            length, place = varint_at(data, place)
            domain = data[place : place + length] if tag >> 3 == _DOMAIN else domain
            place += length
        else:
            raise ValueError("an opset entry is not a domain and version")
    return version if domain in (b"", b"ai.onnx") else 0


def _metadata(file: BinaryIO) -> Iterator[tuple[str, str]]:
    for data in _entries(file, _METADATA_PROPS):
        yield _entry(data)


def _entries(file: BinaryIO, wanted: int) -> Iterator[bytes]:
    """The content of each field with this number."""
    size = file.seek(0, 2)
    file.seek(0)
    while file.tell() < size:
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        if kind == _LENGTH:
            length = _varint(file)
            if length > size - file.tell():
                raise ValueError(f"a field of {length} bytes exceeds the file's end")
            if number == wanted and length <= _LARGEST_ENTRY:
                yield file.read(length)
            else:
                file.seek(length, 1)
        elif kind == _VARINT:
            _varint(file)
        elif kind in (_FIXED32, _FIXED64):
            file.seek(4 if kind == _FIXED32 else 8, 1)
        else:
            raise ValueError(f"a field has the unknown kind {kind}")


def _entry(data: bytes) -> tuple[str, str]:
    """Key and value of a ``StringStringEntryProto``."""
    values, place = {_KEY: "", _VALUE: ""}, 0
    while place < len(data):
        tag, place = varint_at(data, place)
        if tag & 7 != _LENGTH:
            raise ValueError("a metadata entry is not a pair of texts")
        length, place = varint_at(data, place)
        values[tag >> 3] = data[place : place + length].decode()
        place += length
    return values[_KEY], values[_VALUE]


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while shift < 64:
        byte = file.read(1)
        if not byte:
            raise ValueError("the file ends within a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
    raise ValueError("a number has more than 64 bits")


def varint_at(data: bytes | memoryview, place: int) -> tuple[int, int]:
    """The number that begins at `place`, and the place after it; raises `ValueError` if it does not end."""
    value = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("the file ends within a number")
