"""A setting as one field of a dataclass: its metadata is all that options, files and documentation say of it.

The field's default is the setting's default.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from edgevision.settings.kinds import Kind


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is described by a dataclass; `several` is an array of them."""

    kind: type
    several: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as its dataclass defines it."""

    name: str
    """In a file."""
    field: str
    """Of the dataclass."""
    kind: Kind | Table
    meaning: str
    default: object
    """`dataclasses.MISSING` where one must be given."""
    option: str | None = None
    """On the command line, such as "--fill-ms"; None: it has none."""
    metavar: str | None = None
    """What stands for the value in ``--help``: its unit, or its form."""

    @property
    def required(self) -> bool:
        """True if it must be given."""
        return self.default is dataclasses.MISSING


def setting(
    kind: Kind | Table,
    meaning: str,
    *,
    name: str | None = None,
    option: str | None = None,
    metavar: str | None = None,
) -> dict[str, object]:
    """The metadata of a field; `name` is that in a file, where it differs from the field's."""
    return {"kind": kind, "meaning": meaning, "name": name, "option": option, "metavar": metavar}


def settings_of(table: type) -> tuple[Setting, ...]:
    """The settings of a dataclass, in their order; fields without metadata are none."""
    return tuple(_setting(item) for item in dataclasses.fields(table) if "kind" in item.metadata)


def definition(table: type, field: str) -> Setting:
    """One of them; raises `KeyError` for a field that is none."""
    return {found.field: found for found in settings_of(table)}[field]


def _setting(item: dataclasses.Field[Any]) -> Setting:
    default: object = item.default
    if item.default_factory is not dataclasses.MISSING:
        default = item.default_factory()
    found = item.metadata
    name = found["name"] or item.name
    return Setting(
        name, item.name, found["kind"], found["meaning"], default, found["option"], found["metavar"]
    )
