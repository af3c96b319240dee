"""`edgevision bench`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from edgevision.benchmark.bench import BenchOptions, Subject, bench
from edgevision.benchmark.comparison import SECONDS, ComparisonOptions
from edgevision.benchmark.records import record_lines, write_record
from edgevision.benchmark.timing import MeasureSettings
from edgevision.bundle.folder import Bundle
from edgevision.cli.comparing import compare_shown
from edgevision.cli.options.groups import graph_options
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.present import Steps
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import FrameInput, Precision
from edgevision.engines.devices import find_device
from edgevision.engines.opening import ENGINES, open_session
from edgevision.sinks.files.video import VideoSink
from edgevision.sinks.opening import write_clip
from edgevision.sources.frames import Source
from edgevision.sources.opening import open_source
from edgevision.sources.synthetic_camera import SyntheticCamera
from edgevision.storage.sha256 import sha256_of_file

CLIP_WH = (1280, 720)
CLIP_FRAMES = 120


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--source", help="Video file, image or folder. Default: a generated clip of photographs.")
@click.option(
    "--engine", type=click.Choice(ENGINES), help="Engine to measure. Default: the fastest of a comparison."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the engine. Default: all cores.")
@click.option(
    "--seconds",
    type=FiniteRange(min=0, min_open=True),
    default=9.0,
    show_default=True,
    help="Minimum time for each of: inference alone, end to end, stage by stage.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of paired rounds that share this time.",
)
@graph_options
@click.option(
    "--allow-fallback",
    is_flag=True,
    help="With onnxruntime-cuda and onnxruntime-tensorrt: run on the CPU what the GPU cannot run. Default: an error if"
    " that is more than 5 % of the nodes.",
)
@click.option(
    "--record", "json_file", type=click.Path(path_type=Path), help="File for the benchmark record, as JSON."
)
def command(
    bundle: Path,
    source: str | None,
    engine: str | None,
    threads: int | None,
    seconds: float,
    rounds: int,
    precision: Precision | None,
    device: str | None,
    force: bool,
    allow_fallback: bool,
    json_file: Path | None,
) -> None:
    """Measure latency and throughput of every stage.

    Stages, in a serial loop: decode, prepare (scaling into the batch), inference (the whole graph), results
    (thresholding, boxes to frame pixels), output (drawing, encoding a video that is discarded). Then frames/s with
    overlapping stages is compared with inference alone, in paired rounds. UNSTABLE means that latency, clocks or
    temperatures drifted by more than 10 %.

    Without --engine and --precision, all verified engines and graphs are compared first. The fastest is stored for this
    machine, where `run`, `live` and `deploy` use it, and its stages are measured.
    """
    options = SessionOptions(
        threads=threads, allow_fallback=allow_fallback, precision=precision, device=device, force=force
    )
    if source is not None:
        open_source(source).close()  # a missing source is reported before the comparison
    if engine is None and precision is None and bundle.suffix != ".onnx":
        compared = ComparisonOptions(
            "edgevision bench", min(seconds, SECONDS), threads=threads, device=find_device(device)
        )
        chosen = compare_shown(Bundle.open(bundle), compared)
        engine, options = chosen.engine, replace(options, precision=chosen.precision)
    settings = MeasureSettings(seconds, min_count=30 * rounds, warmup_s=min(1.0, seconds), warmup_count=5)
    steps = Steps()
    with (
        tempfile.TemporaryDirectory(prefix="edgevision-bench-") as scratch,
        open_session(bundle, engine=engine, options=options) as session,
    ):
        open_frames = _frames(source, session.spec.frames, Path(scratch), steps)
        subject = Subject(session, _graph_sha256(bundle, session.precision), options, open_frames)

        def throw_away(frames: Source) -> VideoSink:
            return VideoSink(Path(scratch) / "output.mp4", frames.size_wh, frames.fps)

        record = bench(subject, BenchOptions(settings, rounds), throw_away, steps.done)
    click.echo("\n".join(record_lines(record)))
    if json_file is not None:
        write_record(json_file, record)


def _frames(source: str | None, frames: FrameInput, scratch: Path, steps: Steps) -> Callable[[], Source]:
    if source is not None:
        return lambda: open_source(source)
    size_wh = frames.size_wh if frames.fit == "exact" else CLIP_WH
    camera = SyntheticCamera(size_wh, cycle=CLIP_FRAMES)
    clip = scratch / "photographs.mp4"
    write_clip(clip, camera.frames(camera.cycle), size_wh, fps=25.0)
    steps.done(f"made a clip of {camera.cycle} frames")
    return lambda: open_source(clip)


def _graph_sha256(bundle: Path, precision: Precision | None) -> str:
    if bundle.suffix == ".onnx":
        return sha256_of_file(bundle)
    return Bundle.open(bundle).graph(precision or "float").file.sha256
