"""Scanner for the lines of keys and values in valid TOML."""

from __future__ import annotations

import re
from collections.abc import Callable

from edgevision.settings.kinds import KeyPath

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_BLANK_LINES = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_STRINGS = (
    # Up to two quotation marks may precede the three that end a multi-line string.
    re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL),
    re.compile(r"'''(?:[^']|'(?!''))*'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


class Scanner:
    """Scans valid TOML and records lines; values are skipped.

    `plain_key` parses a quoted key. If a name occurs several times, for example in headers, its first line counts.
    Lines end in a single line feed.
    """

    def __init__(self, text: str, plain_key: Callable[[str], str]) -> None:
        self._text = text
        self._plain_key = plain_key
        self._at = 0
        self._counted = 0
        self._line = 1
        self._lines: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}
        """Number of tables in each array of tables so far."""

    def lines(self) -> dict[KeyPath, int]:
        """The line of every key, table and element, from 1."""
        table: KeyPath = ()
        self._skip(_BLANK_LINES)
        while self._at < len(self._text):
            table = self._header() if self._text[self._at] == "[" else self._assignment(table)
            self._skip(_BLANK_LINES)
        return self._lines

    def _header(self) -> KeyPath:
        """``[a.b]`` or ``[[a.b]]``; if a is an array of tables, its last table is used."""
        several = self._text.startswith("[[", self._at)
        line = self._here()
        self._at += 2 if several else 1
        names = self._key()
        self._at += 2 if several else 1
        path: KeyPath = ()
        for name in names[:-1]:
            path = self._note((*path, name), line)
            if path in self._elements:
                path = (*path, self._elements[path] - 1)
        path = self._note((*path, names[-1]), line)
        if not several:
            return path
        number = self._elements.get(path, 0)
        self._elements[path] = number + 1
        return self._note((*path, number), line)

    def _assignment(self, table: KeyPath) -> KeyPath:
        """``a.b = value``; returns the unchanged current table."""
        line = self._here()
        path = table
        for name in self._key():
            path = self._note((*path, name), line)
        self._at += 1  # =
        self._skip(_BLANK)
        self._value(path)
        return table

    def _key(self) -> list[str]:
        """Dotted names, up to the next token."""
        names = []
        while True:
            self._skip(_BLANK)
            if self._text[self._at] in "\"'":
                names.append(self._plain_key(self._string()))
            else:
                names.append(self._skip(_BARE_KEY))
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        elif first in "\"'":
            self._string()
        else:
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        number = 0
        while not self._ends("]"):
            self._value(self._note((*path, number), self._here()))
            number += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while not self._ends("}"):
            self._assignment(path)

    def _ends(self, mark: str) -> bool:
        """Skip blanks and a comma; if the closing mark follows, skip it and return True."""
        self._skip(_BLANK_LINES)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK_LINES)
        if self._text[self._at] != mark:
            return False
        self._at += 1
        return True

    def _string(self) -> str:
        return next(self._skip(kind) for kind in _STRINGS if kind.match(self._text, self._at))

    def _skip(self, what: re.Pattern[str]) -> str:
        match = what.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return match[0]

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _note(self, path: KeyPath, line: int) -> KeyPath:
        self._lines.setdefault(path, line)
        return path
