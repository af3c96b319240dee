"""Options of the commands that read live sources."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from edgevision.cli.options.numbers import FiniteRange
from edgevision.errors import UsageError
from edgevision.sources.addresses import LiveOptions, check_name, public_name
from edgevision.sources.lists import exists
from edgevision.sources.picture_watch import WatchOptions


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
        watch = WatchOptions(freeze_after_s=freeze_after or None)
        live = LiveOptions(give_up_after_s=give_up_after, watch=watch, transport=rtsp_transport)
        return command(*args, live=live, **others)

    transport = click.option(
        "--rtsp-transport",
        type=click.Choice(["tcp", "udp"]),
        default="tcp",
        show_default=True,
        help="What an RTSP camera's pictures come by.",
    )
    give_up = click.option(
        "--give-up-after",
        type=FiniteRange(min=0, min_open=True),
        metavar="SECONDS",
        help="End with an error when a camera is away for so long. Default: never.",
    )
    freeze = click.option(
        "--freeze-after",
        type=FiniteRange(min=0),
        default=WatchOptions().freeze_after_s,
        show_default=True,
        metavar="SECONDS",
        help="Withhold pictures of a camera that has shown the same one for so long; 0: never.",
    )
    return freeze(give_up(transport(with_live)))


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
            plain = name = public_name(address)
            number = 1
            while name in taken:
                number += 1
                name = f"{plain} ({number})"
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
