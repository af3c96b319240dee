"""Options of the commands that read live sources."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from edgevision.cli.names import unique_name
from edgevision.cli.options.defined import options_of
from edgevision.errors import UsageError
from edgevision.service.config.settings import CameraSettings
from edgevision.sources.addresses import SourceAddress, check_name, public_name
from edgevision.sources.options import CameraOptions
from edgevision.sources.freeze import FreezeOptions


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


def named_sources(texts: Sequence[str]) -> tuple[tuple[str | None, SourceAddress], ...]:
    """(name, address) of each ``ADDRESS`` or ``NAME=ADDRESS``; names differ.

    Of several, one without a name is called by its public address, numbered where that is taken; a single one has None.
    A file whose own name contains ``=`` is meant as it is. Raises `UsageError` for a name that is given twice, and
    `SourceError` for an address that cannot be read.
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
            raise UsageError(f"two sources are called {name!r}; names must differ")
        found.append((name, SourceAddress.parse(text)))
    return tuple(found)


def _named(text: str) -> tuple[str | None, str]:
    match = re.match(r"([^=:/\\?]+)=(.+)", text, re.DOTALL)
    if match is None or os.path.exists(text):  # noqa: PTH110  # a text that can be no path is none
        return None, text
    name = match[1].strip()
    check_name(name, "source")
    return name, match[2]
