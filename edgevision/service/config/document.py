"""A TOML file and the line of everything in it, so that a mistake can be shown where it was made."""

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
    """Something wrong in a file, and where."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class NotTomlError(Exception):
    """A file that is not TOML; holds the one `Problem` that its reader stopped at."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and on which line it says it."""

    name: str
    """The file's name, as messages give it."""
    data: dict[str, object]
    lines: Mapping[KeyPath, int]
    """From 1; of every key, table, and element of an array."""

    def line(self, path: KeyPath) -> int:
        """The line of a key, or of the nearest table around one that is not there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A mistake at that key."""
        return Problem(self.name, self.line(path), text)


def parse(data: bytes, name: str) -> Document:
    """Read a file's bytes; raises `NotTomlError` with the line at which they stop being TOML."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotTomlError(Problem(name, line, f"not UTF-8: {error.reason}; save it as UTF-8")) from error
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
    """A key in quotation marks as it is meant; whoever reads the file also reads its escapes."""
    (key,) = tomllib.loads(f"{quoted} = 0")
    return key
