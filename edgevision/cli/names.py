"""Unique names."""

from __future__ import annotations

from collections.abc import Container


def unique_name(plain: str, taken: Container[str], form: str = "{} ({})") -> str:
    """`plain`, or with a number from 2 on if it is taken."""
    name, number = plain, 2
    while name in taken:
        name, number = form.format(plain, number), number + 1
    return name
