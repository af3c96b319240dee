"""`edgevision generate`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from edgevision.cli.options.groups import graph_options
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import ENGINES, open_session
from edgevision.inference.generation import (
    GenerateOptions,
    check_output,
    generate_each,
    labels_of,
    write_each,
)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--label",
    "labels",
    metavar="N|NAME",
    multiple=True,
    help="Class of the images, by number or name; repeatable: the classes in turn. Default: every class in turn.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the noise.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Number of images.")
@click.option(
    "--first", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the first image."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR|FILE.png",
    help="Folder for one PNG file per image, or a PNG file for a grid of all.",
)
@click.option("--no-metadata", is_flag=True, help="Do not state in the files that a model made them.")
@click.option(
    "--engine", type=click.Choice(ENGINES), help="Engine to run. Default: the fastest verified one."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the engine. Default: all cores.")
@graph_options
def command(
    bundle: Path,
    labels: tuple[str, ...],
    seed: int,
    count: int,
    first: int,
    output: Path,
    no_metadata: bool,
    engine: str | None,
    threads: int | None,
    precision: Precision | None,
    device: str | None,
    force: bool,
) -> None:
    """Make images from noise.

    The noise of an image depends on the seed and the image's number only. The same seed, number and label give the same
    image, bit for bit in one engine on one machine, whatever --count is. Engines differ by rounding.

    The files state the model, its hash, seed and label as PNG text, and that a trained model made them as XMP.
    """
    options = GenerateOptions(labels, seed, count, first)
    session_options = SessionOptions(threads=threads, precision=precision, device=device, force=force)
    with open_session(bundle, engine=engine, options=session_options) as session:
        labels_of(session.spec, labels)
        check_output(output)
        began = time.perf_counter()
        with click.progressbar(length=count, label="images", file=sys.stderr) as bar:
            images = generate_each(session, options)
            made = write_each(images, output, metadata=not no_metadata, on_image=lambda: bar.update(1))
        seconds = time.perf_counter() - began
        ran = f"{session.spec.name}, {session.precision or 'bare'} graph, {session.info.library}"
    click.echo(f"{ran}: {made} images of seed {seed} in {seconds:.1f} s, {made / seconds:.1f} images/s")
    click.echo(f"wrote {output}")
