"""`edgevision live`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from edgevision.analytics.options import AnalyticsOptions
from edgevision.cli.extras import require_live
from edgevision.cli.names import unique_name
from edgevision.cli.options.defined import option_of
from edgevision.cli.options.grouped import GroupedCommand
from edgevision.cli.options.groups import (
    analytics_options,
    camera_options,
    engine_options,
    page_options,
    pipeline_options,
    session_options,
)
from edgevision.cli.options.sinks import SinkArguments, sink_options
from edgevision.cli.options.sources import named_sources
from edgevision.cli.progress import Interrupts
from edgevision.contract.session import SessionOptions
from edgevision.device.power.watch import PowerWatch
from edgevision.engines.opening import check_model
from edgevision.errors import UsageError
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.camera_manager import CameraManager
from edgevision.service.camera_plan import CameraPlan
from edgevision.service.config.engine import engine_opener
from edgevision.service.config.settings import CameraSettings, ModelSettings, PageSettings
from edgevision.service.web.options import PageOptions, read_token
from edgevision.sinks.sink import Sink
from edgevision.sources.addresses import public_name
from edgevision.sources.options import CameraOptions

POLL_S = 0.1


@click.command(cls=GroupedCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, metavar="[NAME=]SOURCE...")
@click.option(
    "--name",
    "named",
    multiple=True,
    metavar="NAME=SOURCE",
    help="Source with a name; the same as the argument NAME=SOURCE.",
)
@page_options
@option_of(PageSettings, "token_file")
@engine_options
@option_of(CameraSettings, "threshold")
@session_options
@camera_options
@click.option(
    "--jsonl",
    type=click.Path(path_type=Path),
    help="File for results; one line with a JSON object for each frame.",
)
@sink_options
@analytics_options
@pipeline_options
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path,
    sources: tuple[str, ...],
    named: tuple[str, ...],
    page: PageOptions,
    token_file: Path | None,
    engine: str | None,
    threshold: float | None,
    build: bool,
    opening: SessionOptions,
    connection: CameraOptions,
    jsonl: Path | None,
    sinks: SinkArguments,
    analytics: AnalyticsOptions,
    pipeline: PipelineOptions,
) -> None:
    """Show live cameras and their detections on a web page.

    SOURCE is one that `edgevision run` accepts: a camera index, an address (rtsp://, http://), csi://0, gst:PIPELINE,
    loop:VIDEO, or demo: for a synthetic camera. The page shows annotated video, measurements, and for each camera a
    threshold and a start/stop button. /metrics is for Prometheus; /health and /ready are for service managers and
    orchestrators. Ctrl-C ends it.

    The page is reachable only from this machine unless --host is given. Visitors then need the token, which is printed
    once as part of the address.
    """
    require_live("edgevision live")
    cameras = _named(sources, named)
    model = ModelSettings(str(bundle), engine, opening, build=build)
    outputs = _Outputs(jsonl, sinks)
    with Interrupts() as interrupts:
        plans = [CameraPlan(name, address, connection, threshold, analytics) for name, address in cameras]
        _show(
            _Request(bundle, model, plans, outputs, pipeline),
            replace(page, token=read_token(token_file)),
            interrupts,
        )
    ctx.exit(interrupts.exit_code)


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Outputs of results besides the page."""

    jsonl: Path | None
    others: SinkArguments

    def open(self, stack: contextlib.ExitStack) -> dict[str, Sink]:
        """The sinks by name; equal names are numbered."""
        found: dict[str, Sink] = {}
        for sink in self.others.open(stack, jsonl=self.jsonl):
            found[unique_name(sink.public_name, found)] = sink
        return found


@dataclass(frozen=True, slots=True)
class _Request:
    """Bundle, cameras and outputs of one call."""

    bundle: Path
    model: ModelSettings
    cameras: Sequence[CameraPlan]
    outputs: _Outputs
    running: PipelineOptions


def _show(request: _Request, page: PageOptions, interrupts: Interrupts) -> None:
    """Run until interrupted; raises the engine's failure."""
    # imported here because it belongs to an extra
    from edgevision.service.web.server import PageServer

    opener = engine_opener(
        request.bundle, request.model, interrupts.requested, lambda line: click.echo(line, err=True)
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(PowerWatch())
        sinks = request.outputs.open(stack)
        plans = [replace(plan, sinks=tuple(sinks)) for plan in request.cameras]
        camera_manager = CameraManager(opener, plans, sinks, request.running)
        stack.callback(camera_manager.close)
        server = stack.enter_context(PageServer(camera_manager, page))
        server.start()  # first: reports a port in use before the engine is opened
        check_model(
            request.bundle, request.model.opening
        )  # a missing bundle is reported before a missing camera
        camera_manager.start()
        click.echo(f"{', '.join(plan.name for plan in plans)} at {server.entry_url}")
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
        raise UsageError("no source was given; expected for example: edgevision live BUNDLE demo:")
    return tuple((name or public_name(address.text), address.text) for name, address in cameras)
