"""Which ONNX file of a bundle a version of TensorRT reads."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from edgevision.build.library import Library
from edgevision.bundle import Bundle, GraphEntry
from edgevision.errors import GraphError

OLD_OPSET = 17
"""The newest opset of TensorRT 8.6; its parser takes the bytes of FP16 scales for float32."""


def graph_file(bundle: Bundle, entry: GraphEntry, library: Library) -> Path:
    """The graph's file, or its form of opset 17 for TensorRT 8.6; raises `GraphError` where one is needed and missing.

    Strongly typed versions read the graph itself, whose types they follow.
    """
    path = bundle.graph_path(entry.precision)
    if library.dialect.strongly_typed or entry.precision != "int8":
        return path
    form = bundle.form_path(entry.precision, "opset17")
    if form is None and file_opset(path) > OLD_OPSET:
        raise GraphError(
            f"{library.name} reads INT8 up to opset {OLD_OPSET} with float32 scales; {path} has opset"
            f" {file_opset(path)} and FP16 scales, and no form for it lies beside it; make it again:"
            f" edgevision quantize {bundle.path} --target tensorrt, or build --graph fp16"
        )
    return form or path


def refuse_unread(path: Path, library: Library) -> None:
    """Raise `GraphError` that names what this version is documented not to read.

    Where the package onnx is not installed the library's own parser says it, in its own words.
    """
    if importlib.util.find_spec("onnx") is None:
        return
    from edgevision.graph.contract import load_model
    from edgevision.graph.limits.check import require_readable
    from edgevision.graph.limits.versions import limits_of

    require_readable(load_model(path), limits_of(library.flavour, library.version), path)


def file_opset(path: Path) -> int:
    """The opset of the standard operators that an ONNX file names; 0 if it names none.

    Read off the file's outermost fields, since devices need no package for ONNX: ``opset_import`` is field 8 of
    ModelProto, with ``domain`` as field 1 and ``version`` as field 2 (onnx.proto).
    """
    found = 0
    for number, value in _fields(path.read_bytes()):
        if number == 8 and isinstance(value, bytes):
            entry = dict(_fields(value))
            version = entry.get(2, 0)
            if entry.get(1, b"") in (b"", b"ai.onnx") and isinstance(version, int):
                found = max(found, version)
    return found


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Fields of a protobuf message: numbers and values, of the wire types varint, 64-bit, bytes and 32-bit."""
    fields: list[tuple[int, int | bytes]] = []
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(data, place)
            fields.append((key >> 3, value))
            continue
        length = {1: 8, 5: 4}.get(kind)
        if length is None:
            length, place = _varint(data, place)
        fields.append((key >> 3, data[place : place + length]))
        place += length
    return fields


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data):
        value |= (data[place] & 127) << shift
        place += 1
        if data[place - 1] < 128:
            break
        shift += 7
    return value, place
