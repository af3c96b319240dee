"""Settings defined once, as the metadata of dataclass fields.

Command-line options, keys of a deployment file, their checks and the tables of the documentation are generated from
this metadata. The field's default is the setting's default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edgevision.settings.kinds import Kind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a file, described by a dataclass; `several` is an array of them."""

    kind: type
    several: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as its dataclass defines it."""

    name: str
    """Key in a file."""
    path: tuple[str, ...]
    """Path of fields to the setting; a group's field comes first."""
    kind: Kind | Table
    help: str
    default: object
    """`dataclasses.MISSING` if the setting is required."""
    option: str | None = None
    """On the command line, such as "--batch-timeout-ms"; None: no option."""
    metavar: str | None = None
    """Placeholder of the value in ``--help``: its unit or form."""

    @property
    def field(self) -> str:
        """Name of the field in its own dataclass."""
        return self.path[-1]

    @property
    def required(self) -> bool:
        """True if there is no default."""
        return self.default is dataclasses.MISSING

    def value(self, table: object) -> Any:
        """The value in an instance of the dataclass."""
        for name in self.path:
            table = getattr(table, name)
        return table


def setting(
    kind: Kind | Table,
    text: str,
    *,
    name: str | None = None,
    option: str | None = None,
    metavar: str | None = None,
) -> dict[str, object]:
    """The metadata of a field; `name` is the key in a file if it differs from the field's name."""
    return {"kind": kind, "help": text, "name": name, "option": option, "metavar": metavar}


def group(kind: type) -> dict[str, object]:
    """The metadata of a field that contains a dataclass of settings; they are keys of the same table."""
    return {"group": kind}


def settings_of(table: type) -> tuple[Setting, ...]:
    """The settings of a dataclass and its groups, in order; fields without metadata are omitted."""
    found: list[Setting] = []
    for item in dataclasses.fields(table):
        if "group" in item.metadata:
            inner = settings_of(item.metadata["group"])
            found += [dataclasses.replace(one, path=(item.name, *one.path)) for one in inner]
        elif "kind" in item.metadata:
            found.append(_setting(item))
    return tuple(found)


def definition(table: type, name: str) -> Setting:
    """The setting of a field; raises `KeyError` if the field is not a setting."""
    return {found.field: found for found in settings_of(table)}[name]


def build(table: type[T], values: Mapping[tuple[str, ...], Any], **others: object) -> T:
    """An instance from values by `Setting.path`; `others` are fields that are not settings."""
    own: dict[str, Any] = dict(others)
    inner: dict[str, dict[tuple[str, ...], Any]] = {}
    for (name, *rest), value in values.items():
        if rest:
            inner.setdefault(name, {})[tuple(rest)] = value
        else:
            own[name] = value
    for item in dataclasses.fields(table):  # type: ignore[arg-type]  # a dataclass, which `type` cannot express
        if item.name in inner:
            own[item.name] = build(item.metadata["group"], inner[item.name])
    return table(**own)


def _setting(item: dataclasses.Field[Any]) -> Setting:
    default: object = item.default
    if item.default_factory is not dataclasses.MISSING:
        default = item.default_factory()
    found = item.metadata
    name = found["name"] or item.name
    return Setting(
        name, (item.name,), found["kind"], found["help"], default, found["option"], found["metavar"]
    )
