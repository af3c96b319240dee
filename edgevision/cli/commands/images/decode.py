"""`edgevision decode`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from edgevision.cli.coders import open_autoencoder, ran
from edgevision.cli.options.groups import graph_options
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import ENGINES
from edgevision.inference.codes import Codes
from edgevision.inference.coding import check_codes, decode_each, label_of_codes
from edgevision.inference.generation import check_output, write_each


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("codes", metavar="FILE.npz", type=click.Path(path_type=Path))
@click.option("--label", metavar="N|NAME", help="Class of all images. Default: those of the file.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR|FILE.png",
    help="Folder for one PNG file per image, or a PNG file for a sheet of all.",
)
@click.option("--no-metadata", is_flag=True, help="Do not state in the files that a model made them.")
@click.option(
    "--engine", type=click.Choice(ENGINES), help="Engine to run. Default: the fastest verified one."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the engine. Default: all cores.")
@graph_options
def command(
    bundle: Path,
    codes: Path,
    label: str | None,
    output: Path,
    no_metadata: bool,
    engine: str | None,
    threads: int | None,
    precision: Precision | None,
    device: str | None,
    force: bool,
) -> None:
    """Make images of the codes that edgevision encode wrote.

    The images in a folder are named by their place in the file. Their PNG text states the model, its hash, the class
    and the name of the encoded image's file, and XMP states that a trained model made them.
    """
    given = Codes.load(codes)
    options = SessionOptions(threads=threads, precision=precision, device=device, force=force)
    with open_autoencoder(bundle, engine, options) as model:
        label_of_codes(model.spec, label)
        check_codes(model, given)
        check_output(output)
        began = time.perf_counter()
        with click.progressbar(length=len(given), label="images", file=sys.stderr) as bar:
            images = decode_each(model, given, label)
            made = write_each(images, output, metadata=not no_metadata, on_image=lambda: bar.update(1))
        seconds = time.perf_counter() - began
        click.echo(f"{ran(model.decoder)}: {made} images in {seconds:.1f} s")
    click.echo(f"wrote {output}")
