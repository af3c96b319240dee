"""Kinds of setting values, with their parsing and error messages."""

from __future__ import annotations

import abc
import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
KeyPath = tuple[str | int, ...]
"""Path to a value: names of tables and keys, numbers in arrays."""
_VARIABLE = re.compile(r"\$(\$?)\{([^}]*)\}")


class WrongValueError(Exception):
    """An invalid value; `inner` is the path from its key to the wrong part."""

    def __init__(self, text: str, inner: KeyPath = ()) -> None:
        super().__init__(text)
        self.inner = inner


class Kind(abc.ABC):
    """The permitted values of a key."""

    @property
    @abc.abstractmethod
    def expected(self) -> str:
        """The permitted values as text, for messages and documentation."""

    @property
    @abc.abstractmethod
    def stand_in(self) -> Any:
        """Substitute for a missing or wrong required value, so that the rest can be checked."""

    @abc.abstractmethod
    def read(self, value: object) -> Any:
        """The parsed value; raises `WrongValueError`."""

    def wrong(self, value: object) -> WrongValueError:
        """An error with expected and received value."""
        return WrongValueError(f"expected {self.expected}; received {shown(value)}")


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """A string; with `expands`, ``${NAME}`` is an environment variable."""

    what: str = "a text"
    pattern: str = r"[^\x00-\x1f\x7f]+"
    expands: bool = False

    @property
    def expected(self) -> str:
        """The permitted values as text."""
        return self.what

    @property
    def stand_in(self) -> str:
        """An empty text."""
        return ""

    def read(self, value: object) -> str:
        """The string, in which variables are already replaced."""
        if not isinstance(value, str):
            raise self.wrong(value)
        if re.fullmatch(self.pattern, value) is None:
            # The value may be a password.
            raise WrongValueError(f"expected {self.what}") if self.expands else self.wrong(value)
        return value


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of several strings."""

    choices: tuple[str, ...]

    @property
    def expected(self) -> str:
        """The permitted values as text."""
        return " or ".join(f'"{choice}"' for choice in self.choices)

    @property
    def stand_in(self) -> str:
        """The first choice."""
        return self.choices[0]

    def read(self, value: object) -> str:
        """One of the choices."""
        if not isinstance(value, str) or value not in self.choices:
            near = nearest(str(value), self.choices)
            raise WrongValueError(f"expected {self.expected}; received {shown(value)}{near}")
        return value


@dataclass(frozen=True, slots=True)
class Flag(Kind):
    """True or false."""

    @property
    def expected(self) -> str:
        """The permitted values as text."""
        return "true or false"

    @property
    def stand_in(self) -> bool:
        """False."""
        return False

    def read(self, value: object) -> bool:
        """The boolean."""
        if not isinstance(value, bool):
            raise self.wrong(value)
        return value


@dataclass(frozen=True, slots=True)
class Number(Kind):
    """A number within bounds; `whole` excludes fractions, `word` is a permitted text.

    `off_at_zero`: 0 means None.
    """

    least: float = 0.0
    most: float = math.inf
    whole: bool = False
    least_open: bool = False
    most_open: bool = False
    word: str | None = None
    off_at_zero: bool = False

    @property
    def expected(self) -> str:
        """The permitted values as text."""
        what = "a whole number" if self.whole else "a number"
        low = f"above {self.least:g}" if self.least_open else f"from {self.least:g}"
        if math.isinf(self.most):
            text = f"{what} {low}" if self.least_open else f"{what} of {self.least:g} or more"
        elif self.least_open or self.most_open:
            high = f"below {self.most:g}" if self.most_open else f"up to {self.most:g}"
            text = f"{what} {low} and {high}"
        else:
            text = f"{what} {low} to {self.most:g}"
        return text if self.word is None else f'"{self.word}" or {text}'

    @property
    def stand_in(self) -> float:
        """The minimum."""
        return self.least

    def read(self, value: object) -> float | str | None:
        """The number, as float unless `whole`."""
        if self.word is not None and value == self.word:
            return self.word
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            raise self.wrong(value)
        low = value > self.least if self.least_open else value >= self.least
        high = value < self.most if self.most_open else value <= self.most
        if not low or not high or math.isinf(value):
            raise self.wrong(value)
        return self.meant(value if self.whole else float(value))

    def meant(self, value: T) -> T | None:
        """None for a 0 that means off, else the value."""
        return None if self.off_at_zero and value == 0 else value


@dataclass(frozen=True, slots=True)
class Texts(Kind):
    """An array of different strings; `commas`: one comma-separated text on the command line."""

    what: str
    commas: bool = False

    @property
    def expected(self) -> str:
        """The permitted values as text."""
        return f"an array of {self.what}"

    @property
    def stand_in(self) -> tuple[str, ...]:
        """An empty tuple."""
        return ()

    def read(self, value: object) -> tuple[str, ...]:
        """The strings as a tuple."""
        if not isinstance(value, list):
            raise self.wrong(value)
        for number, item in enumerate(value):
            if not isinstance(item, str) or not item:
                raise WrongValueError(f"expected a text; received {shown(item)}", (number,))
            if item in value[:number]:
                raise WrongValueError(f'"{item}" is repeated; expected different texts', (number,))
        return tuple(value)


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace ``${NAME}`` by an environment variable; ``$${NAME}`` stands for those characters.

    Raises `WrongValueError` for a variable that is not set.
    """

    def value_of(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        if match[2] not in environment:
            raise WrongValueError(
                f"the environment has no variable {match[2]}; set it, or write $${{ for a plain ${{"
            )
        return environment[match[2]]

    return _VARIABLE.sub(value_of, text)


def shown(value: object) -> str:
    """A value in TOML's form, shortened if it is long."""
    text = "nan" if value != value else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint with the most similar name; empty if none is similar."""
    near = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""
