"""Differences between two versions of a deployment's file, one line for each key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgevision.analytics.places import PlaceText
from edgevision.service.config.addressing import public_sink
from edgevision.service.config.settings import Settings
from edgevision.settings.setting import Table, settings_of

SECRET = ("token", "secret")


def differences(before: Settings, after: Settings) -> tuple[str, ...]:
    """Additions, removals and changes; addresses without passwords."""
    found: list[str] = []
    for key in settings_of(Settings):
        old, new = key.value(before), key.value(after)
        if isinstance(key.kind, Table) and key.kind.several:
            found += _entries(key.name, old, new)
        elif old is None or new is None:
            if old is not new:
                found.append(f"{key.name}: {'added' if old is None else 'removed'}")
        else:
            found += _table(key.name, old, new)
    return tuple(found)


def _entries(what: str, before: Sequence[Any], after: Sequence[Any]) -> list[str]:
    old, new = ({entry.name: entry for entry in entries} for entries in (before, after))
    found = [f"{what} {name}: removed" for name in old if name not in new]
    for name, entry in new.items():
        if name not in old:
            found.append(f"{what} {name}: added")
        else:
            found += _table(f"{what} {name}", old[name], entry)
    return found


def _table(what: str, before: Any, after: Any) -> list[str]:
    found = []
    for key in settings_of(type(after)):
        old, new = key.value(before), key.value(after)
        if old == new:
            continue
        if key.field in SECRET or (key.field == "address" and public_sink(old) == public_sink(new)):
            found.append(f"{what}: {key.name}: changed")
        else:
            found.append(f"{what}: {key.name}: {_text(key.field, old)} -> {_text(key.field, new)}")
    return found


def _text(field: str, value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if field == "address":
        return public_sink(str(value))
    if isinstance(value, tuple):
        return ", ".join(map(_item, value))
    return str(value)


def _item(value: object) -> str:
    return f"{value.name} {list(value.numbers)}" if isinstance(value, PlaceText) else str(value)
