"""A TOML file with the line of each key, for error messages."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from edgevision.service.config.scanner import Scanner
from edgevision.settings.kinds import KeyPath

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a file, with its line."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class NotTomlError(Exception):
    """The file is not TOML; contains the one `Problem` at which its parser stopped."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Document:
    """Contents of a file and the line of each key."""

    name: str
    """File name for messages."""
    data: dict[str, object]
    lines: Mapping[KeyPath, int]
    """Lines of every key, table, and element of an array; from 1."""

    def line(self, path: KeyPath) -> int:
        """The line of a key, or of the nearest table around a missing one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A mistake at that key."""
        return Problem(self.name, self.line(path), text)


def parse(data: bytes, name: str) -> Document:
    """Parse a file's bytes; raises `NotTomlError` with the line of a syntax error."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotTomlError(Problem(name, line, f"is not UTF-8: {error.reason}; save it as UTF-8")) from error
    try:
        return Document(name, tomllib.loads(text), Scanner(text, _plain_key).lines())
    except RecursionError as error:
        raise NotTomlError(Problem(name, 1, "arrays or tables are nested too deeply")) from error
    except ValueError as error:  # TOMLDecodeError, and numbers of thousands of digits
        raise NotTomlError(_syntax_problem(name, text, str(error))) from error


def _syntax_problem(name: str, text: str, message: str) -> Problem:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place is None:
        return Problem(name, text.rstrip("\n").count("\n") + 1, message)
    return Problem(name, int(place[1]), f"{message[: place.start()]} in column {place[2]}")


def _plain_key(quoted: str) -> str:
    """The plain form of a quoted key; the TOML parser resolves its escapes."""
    (key,) = tomllib.loads(f"{quoted} = 0")
    return key
