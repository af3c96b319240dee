"""`edgevision decode`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from edgevision.cli.coders import open_autoencoder
from edgevision.cli.options.making import opening_options, output_options
from edgevision.cli.present import run_text
from edgevision.contract.session import SessionOptions
from edgevision.inference.codes import Codes
from edgevision.inference.coding import check_codes, decode_each, label_of_codes
from edgevision.inference.generation import check_output, write_each


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("codes", metavar="FILE.npz", type=click.Path(path_type=Path))
@click.option("--label", metavar="N|NAME", help="Class of all images. Default: those of the file.")
@output_options("sheet")
@opening_options
def command(
    bundle: Path,
    codes: Path,
    label: str | None,
    output: Path,
    no_metadata: bool,
    engine: str | None,
    opening: SessionOptions,
) -> None:
    """Make images of the codes that edgevision encode wrote.

    The images in a folder are named by their place in the file. Their PNG text states the model, its hash, the class
    and the name of the encoded image's file, and XMP states that a trained model made them.
    """
    given = Codes.load(codes)
    with open_autoencoder(bundle, engine, opening) as model:
        label_of_codes(model.spec, label)
        check_codes(model, given)
        check_output(output)
        began = time.perf_counter()
        with click.progressbar(length=len(given), label="images", file=sys.stderr) as bar:
            images = decode_each(model, given, label)
            made = write_each(images, output, metadata=not no_metadata, on_image=lambda: bar.update(1))
        seconds = time.perf_counter() - began
        click.echo(f"{run_text(model.decoder)}: {made} images in {seconds:.1f} s")
    click.echo(f"wrote {output}")
