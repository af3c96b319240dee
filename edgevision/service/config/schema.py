"""Tables of a file read into dataclasses whose fields say what may stand in them and what it means."""

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
    """Reads tables of a document and collects what is wrong in them."""

    document: Document
    environment: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, path: KeyPath, text: str, inner: KeyPath = ()) -> None:
        """Note a mistake; it is shown at its key, and the key's full name with it."""
        line = self.document.line((*path, *inner))
        place = spelled((*path, *inner))
        self.problems.append(Problem(self.document.name, line, f"{place}: {text}" if place else text))

    def table(self, kind: type[T], value: object, path: KeyPath = (), **others: object) -> T:
        """A table as its dataclass; where something is wrong defaults and stand-ins take its place.

        `others` are fields that are not in the file.
        """
        keys = settings_of(kind)
        given = value if isinstance(value, dict) else {}
        names = [key.name for key in keys]
        misspelled: set[str] = set()
        for name in given:
            if name not in names:
                known = nearest(name, names) or f"; known here: {', '.join(names)}"
                self.wrong((*path, name), f"unknown key{known}")
                misspelled.update(near for near in names if known.endswith(f'"{near}"?'))
        values: dict[tuple[str, ...], Any] = {}
        for key in keys:
            spare = key.name in misspelled and key.name not in given
            values[key.path] = self._key(key, given, path, said=spare)
        return build(kind, values, **others)

    def _key(self, key: Setting, given: Mapping[str, object], path: KeyPath, *, said: bool) -> Any:
        """Its value; `said`: that it is missing has been said already, in other words."""
        here = (*path, key.name)
        if isinstance(key.kind, Table):
            return self._tables(key, key.kind, given.get(key.name), here, said=said)
        if key.name not in given:
            if key.required and not said:
                self.wrong(path, f'"{key.name}" is not given; expected {key.kind.expected}')
            return key.kind.stand_in if key.required else key.default
        try:
            value = given[key.name]
            if isinstance(value, str) and isinstance(key.kind, Text) and key.kind.expands:
                value = expand(value, self.environment)
            return key.kind.read(value)
        except WrongValueError as wrong:
            self.wrong(here, str(wrong), wrong.inner)
            return key.kind.stand_in if key.required else key.default

    def _tables(self, key: Setting, table: Table, value: object, here: KeyPath, *, said: bool) -> Any:
        heading = f"[[{key.name}]]" if table.several else f"[{key.name}]"
        if value is None:
            if not key.required:
                return key.default
            if not said:
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
    """A table of defaults and stand-ins, in the place of one that is not there."""
    return Reader(Document("", {}, {}), {}).table(kind, {})


def spelled(path: KeyPath) -> str:
    """A path as one writes it: ``camera[1].lines.door``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part, ensure_ascii=False)
            text += f".{name}" if text else name
    return text
