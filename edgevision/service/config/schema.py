"""Reader of tables into dataclasses whose fields define the allowed values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edgevision.service.config.document import Document, Problem
from edgevision.settings.kinds import KeyPath, Text, WrongValueError, expand, nearest
from edgevision.settings.setting import Setting, Table, build, settings_of

T = TypeVar("T")

# Why not pydantic: its errors name a path and no line, so the scanner and document (228 lines) would stay. The kinds
# (227 lines) also make command-line options and documentation tables, so they would stay too. It would replace this
# module's reader of about 70 lines, and adds 11 MB and 110 ms of import time to a device (measured with 2.14).


@dataclass(slots=True)
class Reader:
    """Reads tables of a document and collects their mistakes."""

    document: Document
    environment: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, path: KeyPath, text: str, inner: KeyPath = ()) -> None:
        """Add a mistake, with the line and full name of its key."""
        line = self.document.line((*path, *inner))
        place = spelled((*path, *inner))
        self.problems.append(Problem(self.document.name, line, f"{place}: {text}" if place else text))

    def table(self, kind: type[T], value: object, path: KeyPath = (), **others: object) -> T:
        """A table as its dataclass; defaults and stand-ins replace wrong values.

        `others` are fields that are not in the file.
        """
        keys = settings_of(kind)
        given = value if isinstance(value, dict) else {}
        names = [key.name for key in keys]
        misspelled: set[str] = set()
        for name in given:
            if name not in names:
                known = nearest(name, names) or f"; expected one of: {', '.join(names)}"
                self.wrong((*path, name), f"unknown key{known}")
                misspelled.update(near for near in names if known.endswith(f'"{near}"?'))
        values: dict[tuple[str, ...], Any] = {}
        for key in keys:
            spare = key.name in misspelled and key.name not in given
            values[key.path] = self._key(key, given, path, reported=spare)
        return build(kind, values, **others)

    def _key(self, key: Setting, given: Mapping[str, object], path: KeyPath, *, reported: bool) -> Any:
        """The value of a key; `reported`: a mistake about its absence is already reported."""
        here = (*path, key.name)
        if isinstance(key.kind, Table):
            return self._tables(key, key.kind, given.get(key.name), here, reported=reported)
        if key.name not in given:
            if key.required and not reported:
                self.wrong(path, f'"{key.name}" is missing; expected {key.kind.expected}')
            return key.kind.stand_in if key.required else key.default
        try:
            value = given[key.name]
            if isinstance(value, str) and isinstance(key.kind, Text) and key.kind.expands:
                value = expand(value, self.environment)
            return key.kind.read(value)
        except WrongValueError as wrong:
            self.wrong(here, str(wrong), wrong.inner)
            return key.kind.stand_in if key.required else key.default

    def _tables(self, key: Setting, table: Table, value: object, here: KeyPath, *, reported: bool) -> Any:
        heading = f"[[{key.name}]]" if table.several else f"[{key.name}]"
        if value is None:
            if not key.required:
                return key.default
            if not reported:
                self.wrong(here[:-1], f"there is no {heading}; expected {key.help}")
            return () if table.several else _empty(table.kind)
        if table.several:
            if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
                self.wrong(here, f"expected {heading} above the keys of each")
                return ()
            return tuple(self.table(table.kind, item, (*here, n)) for n, item in enumerate(value))
        if not isinstance(value, dict):
            self.wrong(here, f"expected {heading} above its keys, once")
            return _empty(table.kind) if key.required else key.default
        return self.table(table.kind, value, here)


def _empty(kind: type) -> Any:
    """A table of defaults and stand-ins, in place of a missing one."""
    return Reader(Document("", {}, {}), {}).table(kind, {})


def spelled(path: KeyPath) -> str:
    """A path as in messages: ``camera[1].lines.door``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part, ensure_ascii=False)
            text += f".{name}" if text else name
    return text
