"""Reads and writes serialized Protocol Buffers messages without their library (Protocol Buffers, "Encoding")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgevision.contract.embedded_spec import varint_at

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    number: int
    content: memoryview
    """Bytes of a length-delimited field; empty for others."""
    value: int
    """Value of a varint; 0 for others."""
    whole: memoryview
    """All bytes of the field, with its tag."""


def fields(message: bytes | memoryview) -> Iterator[Field]:
    """The fields of a message, in order. Raises `ValueError` if it is truncated or has groups."""
    data, place = memoryview(message), 0
    while place < len(data):
        began = place
        tag, place = varint_at(data, place)
        kind, value, content = tag & 7, 0, data[:0]
        if kind == _VARINT:
            value, place = varint_at(data, place)
        elif kind == _LENGTH:
            length, place = varint_at(data, place)
            content, place = data[place : place + length], place + length
        elif kind in _FIXED_BYTES:
            place += _FIXED_BYTES[kind]
        else:
            raise ValueError(f"a field has the unknown kind {kind}")
        if place > len(data):
            raise ValueError("the message ends within a field")
        yield Field(tag >> 3, content, value, data[began:place])


def field(number: int, content: bytes | memoryview) -> bytes:
    """A length-delimited field."""
    return b"".join((varint(number << 3 | _LENGTH), varint(len(content)), content))


def number_field(number: int, value: int) -> bytes:
    """A field that holds a varint; `value` is not negative."""
    return varint(number << 3 | _VARINT) + varint(value)


def packed(number: int, values: Iterable[int]) -> bytes:
    """A repeated field of varints, packed; `values` are not negative."""
    return field(number, b"".join(varint(value) for value in values))


def numbers(entries: Iterable[Field]) -> list[int]:
    """The values of a repeated field of varints, packed or not; negative ones as 64-bit two's complement."""
    found: list[int] = []
    for entry in entries:
        if not entry.content:
            found.append(entry.value)
        place = 0
        while place < len(entry.content):
            value, place = varint_at(entry.content, place)
            found.append(value)
    return found


def varint(value: int) -> bytes:
    """A number of seven bits a byte, the lowest first; `value` is not negative."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
