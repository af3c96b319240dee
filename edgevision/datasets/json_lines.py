"""Finds the line of an item in a JSON file, for error messages."""

from __future__ import annotations

import json
import re

_SPACE = re.compile(r"[\s,:]*")


def line_of_item(text: str, key: str, index: int) -> int:
    """The line on which item `index` of the top-level list `key` begins; 1 if it is not found."""
    decoder = json.JSONDecoder()
    position = text.find("{") + 1
    try:
        while True:
            name, position = decoder.raw_decode(text, _skip(text, position))
            position = _skip(text, position)
            if name == key:
                break
            _, position = decoder.raw_decode(text, position)
        position += 1
        for _ in range(index):
            _, position = decoder.raw_decode(text, _skip(text, position))
    except (json.JSONDecodeError, IndexError):
        return 1
    return text.count("\n", 0, _skip(text, position)) + 1


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
