"""`edgevision run`."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import click

from edgevision.addresses import LiveOptions
from edgevision.cli.options import graph_options
from edgevision.cli.progress import Interrupts, ProgressLogHandler, RunProgress
from edgevision.cli.rebuild import rebuild_unfit
from edgevision.cli.source_options import source_options
from edgevision.cli.watch import WatchOptions, count_lines, open_observer, watch_options
from edgevision.errors import UsageError
from edgevision.frames import Source
from edgevision.pipeline import PipelineOptions, run_pipeline
from edgevision.session import ENGINES, SessionOptions, open_session
from edgevision.sinks.json_lines import JsonlSink
from edgevision.sinks.opening import open_picture_sink, refuse_overwriting
from edgevision.sinks.sink import Sink
from edgevision.sinks.window import WindowSink
from edgevision.sources import ImageSource, open_source
from edgevision.spec import Precision


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--engine", type=click.Choice(ENGINES), help="Default: the first that is installed.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.25,
    show_default=True,
    help="Least score of a detection.",
)
@click.option(
    "--iou",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Suppress boxes that overlap a better one by more. Default: as exported.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Annotated pictures: OUT.mp4, or a folder for images.",
)
@click.option("--jsonl", type=click.Path(path_type=Path), help="Results, one JSON object a line and frame.")
@click.option("--show", is_flag=True, help="Annotated pictures in a window; q or Escape ends the run.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many frames.")
@click.option("--rebuild", is_flag=True, help="Build the TensorRT engine first if none fits this device.")
@source_options
@graph_options
@click.option(
    "--allow-fallback", is_flag=True, help="Let the CPU run what ONNX Runtime's GPU provider does not take."
)
@watch_options
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path,
    source: str,
    engine: str | None,
    threshold: float,
    iou: float | None,
    output: Path | None,
    jsonl: Path | None,
    show: bool,
    limit: int | None,
    rebuild: bool,
    precision: Precision | None,
    force: bool,
    allow_fallback: bool,
    live: LiveOptions,
    watch: WatchOptions,
) -> None:
    """Run a bundle on images, folders, videos or a camera.

    SOURCE is an image, a folder of images, a video file, a camera's index such as 0, an address (rtsp://, http://),
    csi://0 on a Jetson, gst:PIPELINE, or demo: for a camera where none is. From a camera the newest frame is taken each
    time, and an outage is waited for; from files every frame. Ctrl-C ends the run cleanly: what was written so far is
    complete, the summary is printed, and the exit code is 130 (143 after SIGTERM).
    """
    # FFmpeg's own messages about damaged frames; what matters of them is said in ours.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if rebuild:
        rebuild_unfit(ctx, bundle, engine, precision)
    with contextlib.ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        opened = stack.enter_context(open_source(source, live))
        progress = RunProgress(_total(opened, limit))
        stack.callback(progress.clear)
        _route_warnings(stack, progress)
        options = SessionOptions(
            iou_threshold=iou, allow_fallback=allow_fallback, precision=precision, force=force
        )
        session = stack.enter_context(open_session(bundle, engine=engine, options=options))
        observer = open_observer(watch, session.spec, opened, threshold)
        sinks = _open_sinks(stack, opened, output, jsonl)
        title = f"{session.spec.name}: {opened.name}"
        window = _open_window(stack, opened, title, interrupts) if show else None
        summary = run_pipeline(
            session,
            opened,
            sinks if window is None else [*sinks, window],
            options=PipelineOptions(threshold=observer.needed_score, limit=limit),
            stop=lambda: interrupts.requested() or (window is not None and window.closed),
            on_frame=progress.on_frame,
            observe=observer.observe,
        )
        progress.clear()
    if session.info.notes:
        click.echo(f"{session.info.library} on {session.info.device}: {'; '.join(session.info.notes)}")
    lines = [*progress.summary_lines(summary), *count_lines(observer, session.spec.classes)]
    _report(lines, [path for path in (output, jsonl) if path is not None])
    if interrupts.requested():
        ctx.exit(interrupts.exit_code)


def _open_sinks(
    stack: contextlib.ExitStack, source: Source, output: Path | None, jsonl: Path | None
) -> list[Sink]:
    sinks: list[Sink] = []
    if output is not None and jsonl is not None and output.resolve() == jsonl.resolve():
        raise UsageError(f"-o and --jsonl both name {output}")
    if output is not None:
        sinks.append(stack.enter_context(open_picture_sink(output, source)))
    if jsonl is not None:
        refuse_overwriting(source, jsonl)
        sinks.append(stack.enter_context(JsonlSink(jsonl)))
    return sinks


def _open_window(
    stack: contextlib.ExitStack, source: Source, title: str, interrupts: Interrupts
) -> WindowSink:
    hold = isinstance(source, ImageSource)
    return stack.enter_context(WindowSink(title, hold=hold, stop=interrupts.requested))


def _total(source: Source, limit: int | None) -> int | None:
    known = [count for count in (source.frame_count, limit) if count is not None]
    return min(known) if known else None


def _route_warnings(stack: contextlib.ExitStack, progress: RunProgress) -> None:
    logger = logging.getLogger("edgevision")
    handler = ProgressLogHandler(progress)
    logger.addHandler(handler)
    stack.callback(logger.removeHandler, handler)


def _report(lines: list[str], written: list[Path]) -> None:
    for line in lines:
        click.echo(line)
    for path in written:
        if path.exists():
            click.echo(f"wrote {path}")
