"""`edgevision generate`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from edgevision.cli.options.making import opening_options, output_options
from edgevision.cli.present import run_text
from edgevision.contract.session import Session, SessionOptions
from edgevision.engines.opening import open_session
from edgevision.inference.generation import (
    GenerateOptions,
    check_output,
    generate_each,
    labels_of,
    tokens_of,
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
@click.option("--text", metavar="TEXT", help="What the images show, for a model that takes a text.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the noise.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Number of images.")
@click.option(
    "--first", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the first image."
)
@output_options("grid")
@opening_options
def command(
    bundle: Path,
    labels: tuple[str, ...],
    text: str | None,
    seed: int,
    count: int,
    first: int,
    output: Path,
    no_metadata: bool,
    engine: str | None,
    opening: SessionOptions,
) -> None:
    """Make images from noise.

    The noise of an image depends on the seed and the image's number only. The same seed, number and label give the same
    image, bit for bit in one engine on one machine, whatever --count is. Engines differ by rounding.

    The files state the model, its hash, seed and label as PNG text, and that a trained model made them as XMP.
    """
    options = GenerateOptions(labels, seed, count, first, text)
    with open_session(bundle, engine=engine, options=opening) as session:
        labels_of(session.spec, labels)
        warn_of_cut_text(session, text)
        check_output(output)
        began = time.perf_counter()
        with click.progressbar(length=count, label="images", file=sys.stderr) as bar:
            images = generate_each(session, options)
            made = write_each(images, output, metadata=not no_metadata, on_image=lambda: bar.update(1))
        seconds = time.perf_counter() - began
        said = run_text(session)
    click.echo(f"{said}: {made} images of seed {seed} in {seconds:.1f} s, {made / seconds:.1f} images/s")
    click.echo(f"wrote {output}")


def warn_of_cut_text(session: Session, text: str | None) -> None:
    """Print the end of a text that is too long; raises `UsageError` for a missing text, or one that has no use."""
    if tokens_of(session, text) is not None and text is not None:
        from edgevision.inference.texts import TextTokens

        cut = TextTokens(session.spec, session.tokenizers).cut(text)
        if cut is not None:
            click.echo(
                f"WARNING: the text is too long for the model, which gets it without {cut!r}", err=True
            )
