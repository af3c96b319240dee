"""`edgevision profile`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from edgevision.benchmark.builds import Build, settled
from edgevision.benchmark.frames import BenchFrames
from edgevision.benchmark.layers.record import HEADER, ProfileRecord, layer_cells, layers_csv, total_lines
from edgevision.benchmark.layers.roofline import Roofline, roofline_lines, stored_or_measured
from edgevision.benchmark.layers.run import profile_build
from edgevision.benchmark.record_files import write_record
from edgevision.cli.options.groups import graph_options
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.present import Steps, table
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import ENGINES
from edgevision.engines.profiles.kernels import KERNEL_ENGINES
from edgevision.errors import SinkError
from edgevision.storage import atomic

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("bundle", type=FILE)
@click.option("--source", help="Video file, image or folder. Default: a generated clip of photographs.")
@click.option(
    "--engine", type=click.Choice(ENGINES), help="Engine to profile. Default: the one that `run` would use."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the engine. Default: all cores.")
@click.option(
    "--seconds",
    type=FiniteRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Minimum time in seconds of calls with and without the profile, in turns.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=15, show_default=True, help="Number of layers to print."
)
@graph_options
@click.option("--record", "json_file", type=FILE, help="Write the record with all layers to this JSON file.")
@click.option("--csv", "csv_file", type=FILE, help="Write all layers as CSV.")
def command(
    bundle: Path,
    source: str | None,
    engine: str | None,
    threads: int | None,
    seconds: float,
    top: int,
    precision: Precision | None,
    device: str | None,
    force: bool,
    json_file: Path | None,
    csv_file: Path | None,
) -> None:
    """Show the layers that cost most, and how far each is from the machine's limit.

    The times are those of the engine's own profile: medians of all calls. A layer is one operation of the engine; the
    nodes of the graph that the engine fused into it are listed with it. "of limit" compares its time with the roofline
    of the machine, which is measured first unless it is stored (`edgevision roofline`). It exceeds 100 % if the data
    come from a cache. Limits are measured for ONNX Runtime and OpenVINO on CPUs.
    """
    options = SessionOptions(threads=threads, precision=precision, device=device, force=force)
    build = settled(Build(bundle, engine, options))
    steps = Steps()
    roofline = _roofline(build, steps)
    with tempfile.TemporaryDirectory(prefix="edgevision-profile-") as scratch:
        record = profile_build(
            build, BenchFrames(source, Path(scratch), steps.done).opener, seconds, roofline
        )
    click.echo("\n".join(_lines(record, top)))
    if json_file is not None:
        write_record(json_file, record)
    if csv_file is not None:
        _write(csv_file, layers_csv(record))


def _roofline(build: Build, steps: Steps) -> Roofline | None:
    for name in KERNEL_ENGINES:
        if build.engine == name:
            return stored_or_measured(name, build.options.threads, again=False, progress=steps.done)
    return None


def _lines(record: ProfileRecord, top: int) -> list[str]:
    build = record.build
    lines = [
        f"{build.name}: {build.engine.library} on {build.engine.device}, batch {build.batch},"
        f" {len(record.layers)} layers",
        "",
        *_aligned([HEADER, *(layer_cells(layer) for layer in record.costliest(top))]),
        "",
        *total_lines(record),
    ]
    if record.roofline is None:
        lines.append(f"no limits: {build.engine.engine} has no measured roofline")
    else:
        lines += ["limits: " + roofline_lines(record.roofline)[0], *roofline_lines(record.roofline)[1:]]
    return [*lines, *(f"note: {note}" for note in record.notes)]


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """A table whose last column, which is text, is left-aligned."""
    width = max(len(row[-1]) for row in rows)
    return table(rows[0], [(*row[:-1], row[-1].ljust(width)) for row in rows[1:]])


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, text.encode())
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from error
