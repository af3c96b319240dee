"""`edgevision run`."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import click

from edgevision.analytics.analytics import Analytics
from edgevision.analytics.options import AnalyticsOptions
from edgevision.cli.names import unique_name
from edgevision.cli.options.analytics import count_lines, open_analytics
from edgevision.cli.options.defined import option_of
from edgevision.cli.options.grouped import GroupedCommand
from edgevision.cli.options.groups import (
    analytics_options,
    camera_options,
    engine_options,
    pipeline_options,
    session_options,
)
from edgevision.cli.options.sinks import SinkArguments, sink_lines, sink_options
from edgevision.cli.options.sources import named_sources
from edgevision.cli.present import chosen_threshold
from edgevision.cli.progress import Interrupts, ProgressLogHandler, RunProgress
from edgevision.cli.rebuild import rebuild_unfit
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import BOX_TASKS, ModelSpec
from edgevision.device.power.watch import PowerWatch
from edgevision.engines.opening import check_model, open_session
from edgevision.errors import UsageError
from edgevision.pipeline.batching import choose_batch
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_streams
from edgevision.pipeline.streams import SourceStream
from edgevision.service.config.settings import CameraSettings
from edgevision.service.periodic_gc import PeriodicGc
from edgevision.sinks.opening import VIDEO_SUFFIX, is_video, open_picture_sink
from edgevision.sinks.sink import Sink
from edgevision.sinks.window import WindowSink
from edgevision.sources.frames import Source
from edgevision.sources.opening import ImageSource, open_source
from edgevision.sources.options import CameraOptions


@click.command(cls=GroupedCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@engine_options
@option_of(CameraSettings, "threshold")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Annotated output: a video OUT.mp4, or a folder of images.",
)
@click.option(
    "--jsonl",
    type=click.Path(path_type=Path),
    help="File for results; one line with a JSON object for each frame.",
)
@click.option("--show", is_flag=True, help="Show annotated frames in a window; q or Escape ends the run.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Stop after this number of results; dropped and late frames do not count.",
)
@session_options
@camera_options
@sink_options
@analytics_options
@pipeline_options
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path,
    sources: tuple[str, ...],
    engine: str | None,
    threshold: float | None,
    output: Path | None,
    jsonl: Path | None,
    show: bool,
    limit: int | None,
    build: bool,
    opening: SessionOptions,
    connection: CameraOptions,
    analytics: AnalyticsOptions,
    sinks: SinkArguments,
    pipeline: PipelineOptions,
) -> None:
    """Run a bundle on images, folders, videos or cameras.

    SOURCE is an image, a folder of images, a video file, a camera index such as 0, an address (rtsp://, http://),
    csi://0 on a Jetson, gst:PIPELINE, loop:VIDEO for a video played as a camera, or demo: for a synthetic camera.
    NAME=SOURCE gives it a name. See docs/cameras.md for all forms.

    A live run takes the newest frame of each camera and reconnects after outages. Files are read completely. Several
    sources share one engine, in batches if that is faster.

    Ctrl-C ends the run cleanly: all files are complete, the summary is printed, and the exit code is 130 (143 after
    SIGTERM).
    """
    check_model(bundle, opening)  # a missing bundle is reported before a missing camera
    if build:
        rebuild_unfit(ctx, bundle, engine, opening)
    if output is not None and (output / "bundle.json").is_file():
        raise UsageError(f"output folder {output} is a bundle; give another folder for the annotated images")
    outputs = _Outputs(output, jsonl, show, sinks)
    running = replace(pipeline, limit=limit)
    request = _Request(sources, connection, threshold, analytics, running, outputs)
    with Interrupts() as interrupts:
        _run(request, interrupts, lambda: open_session(bundle, engine=engine, options=opening))
    if interrupts.requested():
        ctx.exit(interrupts.exit_code)


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Outputs of results."""

    pictures: Path | None
    jsonl: Path | None
    show: bool
    others: SinkArguments


@dataclass(frozen=True, slots=True)
class _Request:
    """Sources, options and outputs of one run."""

    sources: tuple[str, ...]
    connection: CameraOptions
    threshold: float | None
    analytics: AnalyticsOptions
    options: PipelineOptions
    outputs: _Outputs


def _run(request: _Request, interrupts: Interrupts, open_engine: Callable[[], Session]) -> None:
    options, outputs = request.options, request.outputs
    with contextlib.ExitStack() as stack:
        progress = RunProgress(None)
        stack.callback(progress.clear)
        _route_warnings(stack, progress)
        opened = _open_sources(stack, request.sources, request.connection)
        progress.total = _total(opened, options.limit)
        progress.live = any(source.live for source in opened)
        session = stack.enter_context(open_engine())
        if session.selection:
            click.echo(session.selection, err=True)
        outputs.others.check(request.analytics, session.spec.classes)
        _check_task(session.spec, request)
        if request.threshold is not None and session.spec.task not in BOX_TASKS:
            raise UsageError(
                f"--threshold is for models with boxes ({', '.join(BOX_TASKS)}); {session.spec.name} has the task"
                f" {session.spec.task}: omit it"
            )
        threshold = chosen_threshold(session, request.threshold)
        analytics = [
            open_analytics(request.analytics, session.spec, source, threshold)
            if request.analytics.wanted
            else None
            for source in opened
        ]
        pictures, shared = _open_sinks(stack, opened, outputs, resized=session.spec.task == "translate")
        windows = _open_windows(stack, opened, session.spec.name, interrupts) if outputs.show else []
        streams = [
            SourceStream(
                source,
                [*pictures[row], *shared, *windows[row : row + 1]],
                threshold=threshold,
                analytics=analytics[row],
                keep_going=source.live,
            )
            for row, source in enumerate(opened)
        ]
        garbage = stack.enter_context(contextlib.closing(PeriodicGc()))
        power = stack.enter_context(PowerWatch())

        def is_over() -> bool:
            garbage.collect_if_due()
            return interrupts.requested() or any(window.closed for window in windows)

        batch = choose_batch(session, options.batch, sum(source.live for source in opened))
        if batch.frames_per_s:
            click.echo(f"{batch}", err=True)
        summary = run_streams(
            session,
            streams,
            options=replace(options, batch=batch.rows),
            stop=is_over,
            on_frame=lambda _, processed: progress.on_frame(processed),
        )
        progress.clear()
        slowed = [f"meanwhile {found}" for found in power.summary()]
    watched = zip(opened, analytics, strict=True)
    lines = [*progress.summary_lines(summary), *slowed, *sink_lines(shared)]
    _report(session, lines, watched, (outputs.pictures, outputs.jsonl, outputs.others.csv))


def _check_task(spec: ModelSpec, request: _Request) -> None:
    """Raise `UsageError` for tiles that the model cannot take, and for a table of results that have no rows."""
    request.options.check(spec)
    table = request.outputs.others.csv
    if spec.task == "translate" and table is not None:
        raise UsageError(
            f"--csv {table} would stay empty: results of image-to-image models have no rows; expected"
            " -o for the made images, or --jsonl"
        )


def _open_sources(
    stack: contextlib.ExitStack, texts: tuple[str, ...], connection: CameraOptions
) -> list[Source]:
    """Open one after another; with several, cameras without a first frame do not delay the others."""
    if len(texts) > 1:
        connection = replace(connection, wait_first=False)
    return [
        stack.enter_context(open_source(address, connection, name=name))
        for name, address in named_sources(texts)
    ]


def _open_sinks(
    stack: contextlib.ExitStack, sources: list[Source], outputs: _Outputs, *, resized: bool
) -> tuple[list[list[Sink]], list[Sink]]:
    """The image sinks of each source, and the sinks that all sources share."""
    output, jsonl = outputs.pictures, outputs.jsonl
    if output is not None and jsonl is not None and output.resolve() == jsonl.resolve():
        raise UsageError(f"-o and --jsonl both name {output}; expected different files")
    if output is None:
        pictures: list[list[Sink]] = [[] for _ in sources]
    elif len(sources) == 1:
        pictures = [[stack.enter_context(open_picture_sink(output, sources[0], resized=resized))]]
    elif is_video(output):
        raise UsageError(
            f"{len(sources)} sources cannot share the video {output}; expected a folder, with one video per source"
        )
    else:
        pairs = zip(_own_outputs(output, sources), sources, strict=True)
        pictures = [
            [
                stack.enter_context(
                    open_picture_sink(
                        path, source, video=not isinstance(source, ImageSource), resized=resized
                    )
                )
            ]
            for path, source in pairs
        ]
    # Opened last, because these truncate their files.
    return pictures, outputs.others.open(stack, sources, jsonl=jsonl)


def _own_outputs(folder: Path, sources: list[Source]) -> list[Path]:
    """One video per camera and video file, one folder per source of images; named after the sources, with safe
    characters.
    """
    found: list[Path] = []
    for source in sources:
        stem = re.sub(r"[^\w.-]+", "_", source.name).strip("._") or "source"
        suffix = "" if isinstance(source, ImageSource) else VIDEO_SUFFIX
        taken = {path.name.removesuffix(suffix) for path in found if path.name.endswith(suffix)}
        found.append(folder / (unique_name(stem, taken, "{}_{}") + suffix))
    return found


def _open_windows(
    stack: contextlib.ExitStack, sources: list[Source], title: str, interrupts: Interrupts
) -> list[WindowSink]:
    return [
        stack.enter_context(
            WindowSink(
                f"{title}: {source.name}", hold=isinstance(source, ImageSource), stop=interrupts.requested
            )
        )
        for source in sources
    ]


def _total(sources: list[Source], limit: int | None) -> int | None:
    """Expected number of frames, if all sources know theirs."""
    counts = [source.frame_count for source in sources]
    total = None if None in counts else sum(count for count in counts if count is not None)
    known = [count for count in (total, limit) if count is not None]
    return min(known) if known else None


def _route_warnings(stack: contextlib.ExitStack, progress: RunProgress) -> None:
    logger = logging.getLogger("edgevision")
    handler = ProgressLogHandler(progress)
    logger.addHandler(handler)
    stack.callback(logger.removeHandler, handler)


def _report(
    session: Session,
    summary: list[str],
    watched: Iterable[tuple[Source, Analytics | None]],
    outputs: Iterable[Path | None],
) -> None:
    if session.info.notes:
        click.echo(f"{session.info.library} on {session.info.device}: {'; '.join(session.info.notes)}")
    click.echo("\n".join(summary))
    pairs = list(watched)
    for source, analytics in pairs:
        name = f"{source.name}: " if len(pairs) > 1 else ""
        for line in count_lines(analytics, session.spec.classes) if analytics else ():
            click.echo(name + line)
    for path in outputs:
        if path is not None and path.exists():
            click.echo(f"wrote {path}")
