"""Named sources on the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from edgevision.cli.names import unique_name
from edgevision.errors import UsageError
from edgevision.sources.addresses import SourceAddress, check_name, public_name


def named_sources(texts: Sequence[str]) -> tuple[tuple[str | None, SourceAddress], ...]:
    """(name, address) of each ``ADDRESS`` or ``NAME=ADDRESS``; names are unique.

    Of several sources, one without a name gets its public address, numbered if that is taken. A single source gets
    None. An existing file whose name contains ``=`` is an address. Raises `UsageError` for a duplicate name and
    `SourceError` for an invalid address.
    """
    given = [_named(text) for text in texts]
    if len(given) == 1:
        return ((given[0][0], SourceAddress.parse(given[0][1])),)
    found: list[tuple[str | None, SourceAddress]] = []
    taken = {name for name, _ in given if name is not None}
    for name, text in given:
        if name is None:
            name = unique_name(public_name(text), taken)
            taken.add(name)
        elif name in {other for other, _ in found}:
            raise UsageError(f"two sources are called {name!r}; expected different names")
        found.append((name, SourceAddress.parse(text)))
    return tuple(found)


def _named(text: str) -> tuple[str | None, str]:
    match = re.match(r"([^=:/\\?]+)=(.+)", text, re.DOTALL)
    if match is None or os.path.exists(text):  # noqa: PTH110  # the text may not be a valid path
        return None, text
    name = match[1].strip()
    check_name(name, "source")
    return name, match[2]
