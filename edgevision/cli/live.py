"""`edgevision live`."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgevision.addresses import LiveOptions
from edgevision.camera_plan import CameraPlan
from edgevision.cli.extras import require_live
from edgevision.cli.options import graph_options
from edgevision.cli.progress import Interrupts
from edgevision.cli.source_options import named_sources, source_options
from edgevision.cli.watch import watch_options
from edgevision.errors import UsageError
from edgevision.session import ENGINES, SessionOptions, open_session
from edgevision.spec import Precision
from edgevision.station import Station
from edgevision.watch_plan import WatchPlan

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class PageArguments:
    """What the options say about the page."""

    host: str
    port: int
    token_file: Path | None
    allowed_hosts: tuple[str, ...]
    max_clients: int


def page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--host``, ``--port``, ``--token-file``, ``--allow-host``, ``--max-clients``, as the one argument `page`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        names = ("host", "port", "token_file", "allow_host", "max_clients")
        return command(*args, page=PageArguments(*(kwargs.pop(name) for name in names)), **kwargs)

    options = (
        click.option(
            "--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0: all."
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=8080,
            show_default=True,
            help="0: any that is free.",
        ),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path),
            help="File with the token that visitors need. Default: EDGEVISION_TOKEN, or one that is made.",
        ),
        click.option(
            "--allow-host",
            multiple=True,
            metavar="NAME",
            help="A name by which a reverse proxy calls the page.",
        ),
        click.option(
            "--max-clients",
            type=click.IntRange(min=1),
            default=8,
            show_default=True,
            help="Pages at a time.",
        ),
    )
    for option in reversed(options):
        wrapper = option(wrapper)
    return wrapper


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, metavar="[NAME=]SOURCE...")
@click.option(
    "--name", "named", multiple=True, metavar="NAME=SOURCE", help="One more source; the same as NAME=SOURCE."
)
@page_options
@click.option("--engine", type=click.Choice(ENGINES), help="Default: the first that is installed.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.25,
    show_default=True,
    help="Least score of a detection, until the page sets another.",
)
@source_options
@graph_options
@watch_options
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path,
    sources: tuple[str, ...],
    named: tuple[str, ...],
    page: PageArguments,
    engine: str | None,
    threshold: float,
    precision: Precision | None,
    force: bool,
    live: LiveOptions,
    watch: WatchPlan,
) -> None:
    """Show cameras and what a bundle finds in them on a web page.

    SOURCE is what `edgevision run` takes: a camera's index, an address (rtsp://, http://), csi://0, gst:PIPELINE,
    loop:VIDEO, or demo: for a camera where none is. The page has annotated video, figures, a threshold for each camera
    and buttons to stop and start them; /metrics is for Prometheus, /health and /ready are for whoever watches over it.
    Ctrl-C ends it.

    Only this machine reaches the page unless --host says otherwise; then visitors need the token, which is printed once
    as a part of the address.
    """
    require_live("edgevision live")
    from edgevision.live.options import PageOptions, read_token
    from edgevision.live.server import PageServer

    # FFmpeg's own messages about damaged frames; what matters of them is said in ours.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    serving = PageOptions(
        host=page.host,
        port=page.port,
        token=read_token(page.token_file),
        allowed_hosts=page.allowed_hosts,
        max_clients=page.max_clients,
    )
    cameras = _cameras(sources, named)
    plans = [CameraPlan(name, address, live, threshold, watch) for name, address in cameras]
    options = SessionOptions(precision=precision, force=force)
    station = Station(lambda _: open_session(bundle, engine=engine, options=options), plans)
    with contextlib.ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        stack.callback(station.close)
        server = stack.enter_context(PageServer(station, serving))
        server.start()  # first: a port in use is told before the engine is opened
        station.start()
        click.echo(f"{', '.join(plan.name for plan in plans)}: {server.entrance}")
        while not interrupts.requested() and station.failure is None:
            time.sleep(POLL_S)
    if station.failure is not None:
        raise station.failure
    ctx.exit(interrupts.exit_code)


def _cameras(sources: Sequence[str], named: Sequence[str]) -> tuple[tuple[str, str], ...]:
    for text in named:
        if "=" not in text:
            raise UsageError(
                f"--name received {text!r}; expected NAME=SOURCE, such as door=rtsp://host/stream"
            )
    cameras = named_sources([*sources, *named])
    if not cameras:
        raise UsageError("no source was given; expected such as: edgevision live BUNDLE demo:")
    return cameras
