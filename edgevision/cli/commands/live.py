"""`edgevision live`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import click

from edgevision.analytics.options import AnalyticsOptions
from edgevision.cli.extras import require_live
from edgevision.cli.names import unique_name
from edgevision.cli.options.analytics import analytics_options
from edgevision.cli.options.batch import batch_options
from edgevision.cli.options.defined import option_of
from edgevision.cli.options.engine import engine_options
from edgevision.cli.options.page import PageArguments, page_options
from edgevision.cli.options.sinks import SinkArguments, sink_options
from edgevision.cli.options.sources import named_sources, source_options
from edgevision.cli.options.types import graph_options
from edgevision.cli.progress import Interrupts
from edgevision.contract.spec import Precision
from edgevision.device.power.watch import PowerWatch
from edgevision.errors import UsageError
from edgevision.service.camera_plan import CameraPlan
from edgevision.service.config.engine import engine_opener
from edgevision.service.config.settings import BudgetSettings, CameraSettings, ModelSettings
from edgevision.service.camera_manager import CameraManager
from edgevision.service.web.options import PageOptions
from edgevision.sinks.sink import Sink
from edgevision.sources.addresses import public_name
from edgevision.sources.options import CameraOptions

POLL_S = 0.1


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, metavar="[NAME=]SOURCE...")
@click.option(
    "--name", "named", multiple=True, metavar="NAME=SOURCE", help="One more source; the same as NAME=SOURCE."
)
@page_options
@engine_options
@option_of(CameraSettings, "threshold", help="Least score of a detection, until the page sets another.")
@source_options
@graph_options
@click.option("--jsonl", type=click.Path(path_type=Path), help="Results, one JSON object a line and frame.")
@sink_options
@analytics_options
@batch_options
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path,
    sources: tuple[str, ...],
    named: tuple[str, ...],
    page: PageArguments,
    engine: str | None,
    threshold: float,
    iou: float | None,
    build: bool,
    precision: Precision | None,
    force: bool,
    allow_fallback: bool,
    live: CameraOptions,
    jsonl: Path | None,
    sinks: SinkArguments,
    analytics: AnalyticsOptions,
    batch: int | Literal["auto"],
    fill_ms: float,
    max_age_ms: float | None,
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
    cameras = _named(sources, named)
    model = ModelSettings(
        str(bundle), engine, precision, iou, build=build, allow_fallback=allow_fallback, force=force
    )
    running = BudgetSettings(batch=batch, fill_ms=fill_ms, max_age_ms=max_age_ms)
    outputs = _Outputs(jsonl, sinks)
    with Interrupts() as interrupts:
        plans = [CameraPlan(name, address, live, threshold, analytics) for name, address in cameras]
        _show(_Request(bundle, model, plans, outputs, running), page.options(), interrupts)
    ctx.exit(interrupts.exit_code)


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Where results go besides the page."""

    jsonl: Path | None
    others: SinkArguments

    def open(self, stack: contextlib.ExitStack) -> dict[str, Sink]:
        """The sinks by their names, which are numbered where two have the same."""
        found: dict[str, Sink] = {}
        for sink in self.others.open(stack, jsonl=self.jsonl):
            found[unique_name(sink.public_name, found)] = sink
        return found


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be shown."""

    bundle: Path
    model: ModelSettings
    cameras: Sequence[CameraPlan]
    outputs: _Outputs
    running: BudgetSettings


def _show(request: _Request, page: PageOptions, interrupts: Interrupts) -> None:
    """Until interrupted, or until the engine fails, which is raised."""
    # Here and not at the top: it is an extra.
    from edgevision.service.web.server import PageServer

    opener = engine_opener(request.bundle, request.model, interrupts.requested)
    with contextlib.ExitStack() as stack:
        stack.enter_context(PowerWatch())
        sinks = request.outputs.open(stack)
        plans = [replace(plan, sinks=tuple(sinks)) for plan in request.cameras]
        camera_manager = CameraManager(opener, plans, sinks, request.running)
        stack.callback(camera_manager.close)
        server = stack.enter_context(PageServer(camera_manager, page))
        server.start()  # first: a port in use is told before the engine is opened
        camera_manager.start()
        click.echo(f"{', '.join(plan.name for plan in plans)}: {server.entry_url}")
        while not interrupts.requested() and camera_manager.failure is None:
            time.sleep(POLL_S)
    if camera_manager.failure is not None and not interrupts.requested():
        raise camera_manager.failure


def _named(sources: Sequence[str], named: Sequence[str]) -> tuple[tuple[str, str], ...]:
    for text in named:
        if "=" not in text:
            raise UsageError(
                f"--name received {text!r}; expected NAME=SOURCE, such as door=rtsp://host/stream"
            )
    cameras = named_sources([*sources, *named])
    if not cameras:
        raise UsageError("no source was given; expected such as: edgevision live BUNDLE demo:")
    return tuple((name or public_name(address.text), address.text) for name, address in cameras)
