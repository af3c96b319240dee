"""Options of the commands that read live sources."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from edgevision.cli.names import unique_name
from edgevision.cli.options.defined import options_of
from edgevision.errors import UsageError
from edgevision.service.config.settings import CameraSettings
from edgevision.sources.addresses import check_name, public_name
from edgevision.sources.lists import exists
from edgevision.sources.options import CameraOptions
from edgevision.sources.picture_watch import FreezeOptions


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--freeze-after``, ``--give-up-after`` and ``--rtsp-transport``, handed on as the argument `live`."""

    @functools.wraps(command)
    def with_live(
        *args: object,
        freeze_after: float,
        give_up_after: float | None,
        rtsp_transport: Literal["tcp", "udp"],
        **others: object,
    ) -> object:
        freeze = FreezeOptions(freeze_after_s=freeze_after or None)
        live = CameraOptions(give_up_after_s=give_up_after, freeze=freeze, transport=rtsp_transport)
        return command(*args, live=live, **others)

    names = ("freeze_after_s", "give_up_after_s", "transport")
    return options_of(CameraSettings, *names)(with_live)


def named_sources(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(name, address) of each ``ADDRESS`` or ``NAME=ADDRESS``; names differ.

    Without a name it is the address as others may read it, numbered where that is there already. A file whose own name
    holds ``=`` is meant as it is. Raises `UsageError` for a name that is given twice.
    """
    found: list[tuple[str, str]] = []
    given = [_named(text) for text in texts]
    taken = {name for name, _ in given if name is not None}
    for name, address in given:
        if name is None:
            name = unique_name(public_name(address), taken)
            taken.add(name)
        elif name in {other for other, _ in found}:
            raise UsageError(f"two sources are called {name!r}; names must differ")
        found.append((name, address))
    return tuple(found)


def _named(text: str) -> tuple[str | None, str]:
    match = re.match(r"([^=:/\\?]+)=(.+)", text, re.DOTALL)
    if match is None or exists(Path(text)):
        return None, text
    name = match[1].strip()
    check_name(name, "source")
    return name, match[2]
