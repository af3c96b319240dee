"""Options of the command line from the definitions of settings: names, types, ranges, defaults and help stand there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevision.cli.options.numbers import FiniteRange
from edgevision.settings.kinds import Choice, Flag, Kind, Number, Text, Texts
from edgevision.settings.setting import Setting, Table, definition

if TYPE_CHECKING:  # generic for the type checker alone in older versions of click
    _WordOrNumber = click.ParamType[int | str]
else:
    _WordOrNumber = click.ParamType

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class WordOrNumber(_WordOrNumber):
    """A word such as ``auto``, or a whole number in its place."""

    def __init__(self, kind: Number) -> None:
        self.kind = kind
        self.name = f"{kind.word}|N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Read the text."""
        text = str(value).strip()
        if text == self.kind.word:
            return text
        if not text.isdecimal() or not self.kind.least <= int(text) <= self.kind.most:
            self.fail(f"{text!r} is not {self.kind.expected}", param, ctx)
        return int(text)


def option_of(table: type, field: str, **changes: Any) -> Decorator:
    """The option of one setting; `changes` are arguments of `click.option` in place of what follows from it."""
    found = definition(table, field)
    if found.option is None:
        raise KeyError(f"{table.__name__}.{field} has no option")
    return click.option(found.option, **{**_arguments(found), **changes})


def options_of(table: type, *fields: str) -> Decorator:
    """The options of several settings, in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(fields):
            command = option_of(table, field)(command)
        return command

    return decorate


def _arguments(found: Setting) -> dict[str, Any]:
    kind = found.kind
    arguments: dict[str, Any] = {"help": found.meaning, "default": found.default}
    if isinstance(kind, Flag):
        return {**arguments, "is_flag": True}
    if found.metavar is not None:
        arguments["metavar"] = found.metavar
    if isinstance(kind, Texts) or found.default == ():
        return {**arguments, "multiple": True}
    return {**arguments, "type": _type(kind), "show_default": found.default is not None}


def _type(kind: Kind | Table) -> click.ParamType[Any]:
    if isinstance(kind, Choice):
        return click.Choice(kind.choices)
    if isinstance(kind, Text):
        return click.Path(path_type=Path) if kind.what == "a path" else click.STRING
    if not isinstance(kind, Number):
        raise TypeError(f"no option is made of {kind!r}")
    if kind.word is not None:
        return WordOrNumber(kind)
    if kind.whole:
        return click.IntRange(int(kind.least), None if kind.most == float("inf") else int(kind.most))
    most = None if kind.most == float("inf") else kind.most
    return FiniteRange(
        kind.least, most, min_open=kind.least_open, max_open=kind.most_open and most is not None
    )
