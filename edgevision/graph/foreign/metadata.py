"""Reads the metadata of third-party ONNX files, which is untrusted text."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from edgevision.graph.heads.head import MOST_CLASSES, MOST_KEYPOINTS

LONGEST_TEXT = 1 << 20
"""Characters of the longest list of names that is parsed; ImageNet's 1000 names take 32,000."""
_DEEPEST = 4
_LONGEST_NAME = 200
_LARGEST_SIDE = 1 << 16


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """Facts that exporters write beside the graph; None for an entry that is missing or cannot be read."""

    task: str | None = None
    """The task as Ultralytics names it: detect, classify, segment, pose or obb."""
    classes: tuple[str, ...] | None = None
    size_hw: tuple[int, int] | None = None
    """`imgsz`, in the order of Ultralytics: height, width."""
    keypoint_shape: tuple[int, int] | None = None
    """`kpt_shape`: number of keypoints, and 2 or 3 values of each."""
    keypoint_names: tuple[str, ...] | None = None
    """`kpt_names`: names, or those of the first class."""

    @classmethod
    def of(cls, model: onnx.ModelProto) -> FileMetadata:
        """Read the entries `task`, `imgsz`, `kpt_shape`, `kpt_names`, and `names`, `labels` or `character`."""
        entries = {entry.key: entry.value for entry in model.metadata_props}
        classes = (
            _names(entries.get("names")) or _names(entries.get("labels")) or _lines(entries.get("character"))
        )
        shape = _keypoint_shape(entries.get("kpt_shape"))
        names = _keypoint_names(entries.get("kpt_names")) if shape else None
        if names is not None and shape is not None and len(names) != shape[0]:
            names = None
        return cls(_task(entries.get("task")), classes, _size_hw(entries.get("imgsz")), shape, names)


def _task(text: str | None) -> str | None:
    text = (text or "").strip()
    return text if text.isprintable() and 0 < len(text) <= _LONGEST_NAME else None


def _size_hw(text: str | None) -> tuple[int, int] | None:
    value = _literal(text)
    sides = [value, value] if isinstance(value, int) else value
    if not isinstance(sides, (list, tuple)) or len(sides) != 2:
        return None
    if not all(type(side) is int and 0 < side <= _LARGEST_SIDE for side in sides):
        return None
    return sides[0], sides[1]


def _keypoint_shape(text: str | None) -> tuple[int, int] | None:
    value = _literal(text)
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(type(n) is int for n in value):
        return None
    count, each = value
    return (count, each) if 0 < count <= MOST_KEYPOINTS and each in (2, 3) else None


def _keypoint_names(text: str | None) -> tuple[str, ...] | None:
    value = _literal(text)
    if isinstance(value, Mapping) and value:
        value = next(iter(value.values()))
    return _checked(value)


def _names(text: str | None) -> tuple[str, ...] | None:
    """Class names from a list, or from a dict of labels 0, 1, 2 ... in any order."""
    names = _literal(text)
    if isinstance(names, Mapping):
        by_label = {str(label): name for label, name in names.items()}
        names = [by_label.get(str(label)) for label in range(len(names))]
    return _checked(names)


def _lines(text: str | None) -> tuple[str, ...] | None:
    """Class names, one a line, as Paddle's layout models have them.

    Models that recognise text keep their alphabet under the same key: most of its lines are one character long.
    """
    if text is None or len(text) > LONGEST_TEXT:
        return None
    names = text.splitlines()
    if 2 * sum(len(name) > 1 for name in names) <= len(names):
        return None
    return _checked(names)


def _checked(names: object) -> tuple[str, ...] | None:
    if not isinstance(names, (list, tuple)) or not 0 < len(names) <= MOST_CLASSES:
        return None
    for name in names:
        if not isinstance(name, str) or not 0 < len(name.strip()) <= _LONGEST_NAME or not name.isprintable():
            return None
    return tuple(names)


def _literal(text: str | None) -> Any:
    """The value of a JSON text or a Python literal; None for anything else, also for long or deeply nested text."""
    if not text or len(text) > LONGEST_TEXT or _depth(text) > _DEEPEST:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on escapes such as "\d" in a name
                return parse(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def _depth(text: str) -> int:
    """Nesting of the brackets outside of quotes; large for long chains of operators, which the parser nests too."""
    depth = deepest = 0
    quote = ""
    escaped = False
    operators = 0
    for character in text:
        if quote:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character in "[{(":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]})":
            depth -= 1
        elif character in "+-*/~.<>=|&^%@":
            operators += 1
    return max(deepest, operators)
