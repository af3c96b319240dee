"""`edgevision roofline`."""

from __future__ import annotations

from pathlib import Path

import click

from edgevision.benchmark.layers.roofline import Roofline, roofline_lines, stored_or_measured
from edgevision.cli.present import Steps
from edgevision.engines.profiles.kernels import KERNEL_ENGINES, KernelEngine
from edgevision.errors import EngineError, MissingExtraError, SinkError
from edgevision.storage import atomic
from edgevision.storage.codec import json_text


@click.command()
@click.option(
    "--engine", type=click.Choice(KERNEL_ENGINES), help="Engine to measure. Default: all that are installed."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: all cores.")
@click.option("--again", is_flag=True, help="Measure, even if a result of this machine is stored.")
@click.option(
    "--record", "json_file", type=click.Path(path_type=Path), help="Write the result to this JSON file."
)
def command(engine: KernelEngine | None, threads: int | None, again: bool, json_file: Path | None) -> None:
    """Measure the arithmetic peak and the memory bandwidth of this machine.

    The peak in GFLOP/s is that of a matrix product and a convolution in the engine, in float32 and in each type that it
    computes on this CPU. The bandwidth in GB/s is that of the triad a = b + s * c in memory, with the same number of
    threads. It takes a few seconds and at most 768 MiB. The result is stored for this machine, engine version and
    number of threads; `edgevision profile` compares layers with it.
    """
    found: list[Roofline] = []
    missing: MissingExtraError | None = None
    for name in KERNEL_ENGINES if engine is None else (engine,):
        try:
            found.append(stored_or_measured(name, threads, again=again, progress=Steps().done))
        except MissingExtraError as error:
            missing = error
    if not found:
        raise missing or EngineError("no engine is installed: pip install 'edgevision[cpu]'")
    for roofline in found:
        click.echo("\n".join(roofline_lines(roofline)))
    if json_file is not None:
        try:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_file(json_file, json_text(tuple(found)).encode())
        except OSError as error:
            raise SinkError(f"cannot write {json_file}: {error.strerror}") from error
