"""Command-line options generated from the definitions of settings: names, types, ranges, defaults and help."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevision.analytics.places import PlaceText, parse_place
from edgevision.analytics.places_kind import Places
from edgevision.cli.options.numbers import FiniteRange
from edgevision.settings.kinds import Choice, Flag, Kind, Number, Text, Texts
from edgevision.settings.setting import Setting, Table, build, definition, settings_of

if TYPE_CHECKING:  # older versions of click have no generic types
    _WordOrNumber = click.ParamType[int | str]
    _Texts = click.ParamType[tuple[str, ...]]
    _Place = click.ParamType[PlaceText]
else:
    _WordOrNumber = _Texts = _Place = click.ParamType

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class WordOrNumber(_WordOrNumber):
    """A word such as ``auto``, or a whole number."""

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


class CommaTexts(_Texts):
    """Texts separated by commas."""

    name = "text,..."

    def convert(
        self,
        value: object,
        param: click.Parameter | None,  # noqa: ARG002  # click's signature
        ctx: click.Context | None,  # noqa: ARG002
    ) -> tuple[str, ...]:
        """Read the text; a default that is a tuple already passes through."""
        if isinstance(value, tuple):
            return value
        return tuple(text.strip() for text in str(value).split(",") if text.strip())


class Place(_Place):
    """A line or zone, ``[NAME=]X,Y,...``."""

    name = "place"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,  # noqa: ARG002  # click's signature
        ctx: click.Context | None,  # noqa: ARG002
    ) -> PlaceText:
        """Read the text; raises `UsageError`."""
        return value if isinstance(value, PlaceText) else parse_place(str(value))


def option_of(table: type, field: str, **changes: Any) -> Decorator:
    """The option of one setting; `changes` replace arguments of `click.option`."""
    found = definition(table, field)
    if found.option is None:
        raise KeyError(f"{table.__name__}.{field} has no option")
    return _option(found, **changes)


def options_of(table: type, *fields: str) -> Decorator:
    """The options of several settings, in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(fields):
            command = option_of(table, field)(command)
        return command

    return decorate


def group_options(table: type, argument: str, *, without: tuple[str, ...] = ()) -> Decorator:
    """The options of all settings of a dataclass; the command receives an instance as `argument`.

    `without` names fields that keep their defaults.
    """
    chosen = [found for found in settings_of(table) if found.option and found.field not in without]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_group(*args: Any, **kwargs: Any) -> Any:
            values = {found.path: _meant(found, kwargs.pop(_parameter(found))) for found in chosen}
            return command(*args, **{argument: build(table, values)}, **kwargs)

        decorated: Callable[..., Any] = with_group
        for found in reversed(chosen):
            decorated = _option(found)(decorated)
        return decorated

    return decorate


def _option(found: Setting, **changes: Any) -> Decorator:
    assert found.option is not None
    return click.option(found.option, **{**_arguments(found), **changes})


def _parameter(found: Setting) -> str:
    assert found.option is not None
    return found.option.lstrip("-").replace("-", "_")


def _meant(found: Setting, value: object) -> object:
    return found.kind.meant(value) if isinstance(found.kind, Number) else value


def _arguments(found: Setting) -> dict[str, Any]:
    kind = found.kind
    arguments: dict[str, Any] = {"help": found.help, "default": found.default}
    if isinstance(kind, Flag):
        return {**arguments, "is_flag": True}
    if found.metavar is not None:
        arguments["metavar"] = found.metavar
    if isinstance(kind, Texts) and kind.commas:
        return {**arguments, "type": CommaTexts(), "show_default": False}
    if isinstance(kind, Places):
        return {**arguments, "multiple": True, "type": Place()}
    if isinstance(kind, Texts):
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
