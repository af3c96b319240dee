"""Reads plans that Ultralytics exported with a length and a JSON header in front of the plan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edgevision.errors import EngineError
from edgevision.storage import atomic

_LENGTH_BYTES = 4
_LONGEST_HEADER = 1 << 20
"""Bytes; real headers have a few kilobytes, so a larger length is not a header."""
_LEAST_PLAN = 64
"""Bytes; TensorRT's own header alone is this long."""


@dataclass(frozen=True, slots=True)
class HeaderEntry:
    """A name and its value, as one line of text."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class PlanFile:
    """A plan and the header in front of it."""

    header: tuple[HeaderEntry, ...]
    header_json: bytes
    plan: bytes

    def value(self, name: str) -> str | None:
        """The value of a header entry; None if absent."""
        return next((entry.value for entry in self.header if entry.name == name), None)


def read_plan_file(path: Path) -> PlanFile:
    """Split off the header: four bytes of length, little-endian, a JSON object of that length, then the plan.

    Raises `EngineError` for any other file, a plain plan included.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"cannot read {path}: {error.strerror}") from error
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    end = _LENGTH_BYTES + length
    if not 2 <= length <= _LONGEST_HEADER or data[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{":
        raise EngineError(
            f"{path} has no Ultralytics header; a plain plan needs no conversion: trtexec and Triton load it directly"
        )
    if len(data) < end + _LEAST_PLAN:
        raise EngineError(
            f"{path} ends after {len(data)} bytes; its header of {length} bytes and a plan need at least"
            f" {end + _LEAST_PLAN}: copy the file again"
        )
    text = data[_LENGTH_BYTES:end]
    try:
        header = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise EngineError(f"{path}: the header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise EngineError(f"{path}: expected a JSON object as header; received {type(header).__name__}")
    entries = tuple(HeaderEntry(str(key), _text(value)) for key, value in header.items())
    return PlanFile(entries, text, data[end:])


def write_plan_folder(found: PlanFile, folder: Path) -> None:
    """Write ``model.plan`` and ``header.json`` into a new folder; raises `EngineError` if it exists."""
    try:
        with atomic.staged_folder(folder, may_replace=lambda _: False) as staged:
            (staged / "model.plan").write_bytes(found.plan)
            (staged / "header.json").write_bytes(found.header_json)
    except atomic.OccupiedError as error:
        raise EngineError(f"{folder} already exists; choose another folder with -o") from error
    except OSError as error:
        raise EngineError(f"cannot write {folder}: {error.strerror or error}") from error


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
