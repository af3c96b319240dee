"""Converts frozen dataclasses to JSON values and back, and checks them against their annotations."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")
JSON_KEY = "json_key"
"""Metadata of a field: its name in JSON, if that differs from its name in Python."""


class DecodeError(ValueError):
    """A JSON value does not fit the dataclass; the message begins with the path of the value."""


def json_from_dataclass(value: Any) -> Any:
    """Convert nested dataclasses, tuples and dicts to dicts and lists, in field order."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {_key(f): json_from_dataclass(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [json_from_dataclass(item) for item in value]
    if isinstance(value, dict):
        return {key: json_from_dataclass(item) for key, item in value.items()}
    return value


def json_text(value: Any) -> str:
    """A dataclass or JSON value as an indented document that ends in a line break."""
    return json.dumps(json_from_dataclass(value), indent=2) + "\n"


def dataclass_from_json(cls: type[T], data: Any, where: str = "$") -> T:
    """Rebuild `cls` from the output of `json_from_dataclass`; unknown, missing and ill-typed fields raise.

    Supports dataclasses, tuples, `Literal`, unions, `str`, `int`, `float`, `bool` and None. A field with a default may
    be absent. Raises `DecodeError`; a `ValueError` of the class's own checks is converted to it.
    """
    if not isinstance(data, dict):
        raise DecodeError(f"{where}: expected an object, found {_kind(data)}")
    fields = {_key(f): f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # cls is a dataclass
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise DecodeError(f"{where}: unknown field {unknown[0]!r}")
    hints: dict[str, Any] = _hints(cls)  # type: ignore[arg-type]  # the stub of lru_cache does not accept a type
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[field.name] = _decode(hints[field.name], data[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise DecodeError(f"{where}: field {name!r} is missing")
    try:
        return cls(**values)
    except ValueError as error:
        raise DecodeError(f"{where}: {error}") from error


def _key(field: dataclasses.Field[Any]) -> str:
    """Name of a field in JSON."""
    return str(field.metadata.get(JSON_KEY, field.name))


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _decode(annotation: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if dataclasses.is_dataclass(annotation):
        return dataclass_from_json(typing.cast("type[Any]", annotation), data, where)
    if origin is Literal:
        if data not in arguments:
            raise DecodeError(f"{where}: {data!r} is not one of {', '.join(map(repr, arguments))}")
        return data
    if origin in (Union, types.UnionType):
        return _decode_union(arguments, data, where)
    if origin is tuple:
        return _decode_tuple(arguments, data, where)
    if annotation is type(None):
        annotation = None.__class__
    if annotation is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, annotation) or (annotation is int and isinstance(data, bool)):
        raise DecodeError(f"{where}: expected {annotation.__name__}, found {_kind(data)}")
    return data


def _decode_union(options: tuple[Any, ...], data: Any, where: str) -> Any:
    reasons = []
    for option in options:
        try:
            return _decode(option, data, where)
        except DecodeError as error:
            reasons.append(str(error))
    raise DecodeError(reasons[0])


def _decode_tuple(items: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise DecodeError(f"{where}: expected a list, found {_kind(data)}")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_decode(items[0], value, f"{where}[{i}]") for i, value in enumerate(data))
    if len(items) != len(data):
        raise DecodeError(f"{where}: expected {len(items)} items, found {len(data)}")
    return tuple(_decode(t, v, f"{where}[{i}]") for i, (t, v) in enumerate(zip(items, data, strict=True)))


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def newer_schema(data: object, known: int) -> str | None:
    """The error text for a record whose "schema" is newer than supported, with its writer; None for others.

    Call it before decoding the record: its new fields would only raise "unknown field".
    """
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(schema, int) or schema <= known:
        return None
    writer = f", written by edgevision {data['edgevision']}" if "edgevision" in data else ""
    return f"schema {schema}{writer}; this version supports schemas up to {known}: upgrade edgevision"
