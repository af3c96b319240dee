"""Options of the commands that read live sources."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import click

from edgevision.addresses import LiveOptions
from edgevision.picture_watch import WatchOptions


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
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="End with an error when a camera is away for so long. Default: never.",
    )
    freeze = click.option(
        "--freeze-after",
        type=click.FloatRange(min=0),
        default=WatchOptions().freeze_after_s,
        show_default=True,
        metavar="SECONDS",
        help="Withhold pictures of a camera that has shown the same one for so long; 0: never.",
    )
    return freeze(give_up(transport(with_live)))
