"""`edgevision edit`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from edgevision.cli.commands.images.generate import warn_of_cut_text
from edgevision.cli.options.making import opening_options
from edgevision.cli.present import run_text
from edgevision.contract.inputs import MASKED, Region
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import open_session
from edgevision.inference.editing import EditOptions, check_output_file, edit, mask_of_image, region_inputs
from edgevision.sinks.files.images import probe_folder
from edgevision.sources.image_files import read_image


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    required=True,
    help="Image of the same size: white (128 to 255) where it is filled, black where it is kept.",
)
@click.option("--label", metavar="N|NAME", help="Class of the filled image. Default: any.")
@click.option("--text", metavar="TEXT", help="What the filled image shows, for a model that takes a text.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the noise.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.png")
@click.option("--no-metadata", is_flag=True, help="Do not state in the file that a model made a part of it.")
@opening_options
def command(
    bundle: Path,
    image: Path,
    mask: Path,
    label: str | None,
    text: str | None,
    seed: int,
    output: Path,
    no_metadata: bool,
    engine: str | None,
    opening: SessionOptions,
) -> None:
    """Fill a region of an image, given by a mask.

    All pixels outside of the mask keep their values exactly. Label and text are optional: without them, the other
    pixels decide. The same image, mask, seed, label and text give the same result, bit for bit in one engine on one
    machine.

    The file states the model, its hash, seed, label and text as PNG text, and as XMP that a trained model made a part.
    """
    check_output_file(output)
    probe_folder(output.parent)
    with open_session(bundle, engine=engine, options=opening) as session:
        region_inputs(session.spec)
        region = Region(read_image(image), mask_of_image(read_image(mask)))
        if text:
            warn_of_cut_text(session, text)
        began = time.perf_counter()
        made = edit(session, region, EditOptions(label, text, seed), image.name)
        seconds = time.perf_counter() - began
        said = run_text(session)
    made.save(output, metadata=not no_metadata)
    share = (region.mask >= MASKED).mean()
    click.echo(f"{said}: filled {share:.0%} of {image.name} with seed {seed} in {seconds:.2f} s")
    click.echo(f"wrote {output}")
