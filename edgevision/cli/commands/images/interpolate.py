"""`edgevision interpolate`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from edgevision.cli.coders import open_autoencoder
from edgevision.cli.options.making import opening_options, output_options
from edgevision.cli.present import run_text
from edgevision.contract.session import SessionOptions
from edgevision.errors import UsageError
from edgevision.inference.codes import Codes, joined
from edgevision.inference.coding import (
    Autoencoder,
    EncodeOptions,
    check_codes,
    encode_each,
    interpolate_each,
    interpolation,
    label_of_codes,
    row_of,
)
from edgevision.inference.generation import Generation, check_output
from edgevision.inference.inputs import images_of

_CODE = re.compile(r"(?P<file>.+\.npz)(?::(?P<number>-?\d{1,9}))?")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("first", metavar="IMAGE|FILE.npz:N")
@click.argument("second", metavar="IMAGE|FILE.npz:N")
@click.option(
    "--steps", type=click.IntRange(2, 10_000), default=8, show_default=True, help="Number of images."
)
@click.option("--label", metavar="N|NAME", help="Class of all images. Default: that of the nearer end.")
@output_options("sheet")
@opening_options
def command(
    bundle: Path,
    first: str,
    second: str,
    steps: int,
    label: str | None,
    output: Path,
    no_metadata: bool,
    engine: str | None,
    opening: SessionOptions,
) -> None:
    """Make the images between two images, or between two codes.

    Each end is an image, or code number N (from 0) of a file that edgevision encode wrote. The images are decoded from
    codes at equal distances on the straight line between both codes, which are included.
    """
    with open_autoencoder(bundle, engine, opening) as model:
        label_of_codes(model.spec, label)
        ends = [_end(model, given, label) for given in (first, second)]
        line = interpolation(ends[0], ends[1], steps)
        check_output(output)
        made = Generation(tuple(interpolate_each(model, line, label)), row_of(steps))
        said = run_text(model.decoder)
    made.save(output, metadata=not no_metadata)
    click.echo(f"{said}: {steps} images from {first} to {second}")
    click.echo(f"wrote {output}")


def _end(model: Autoencoder, given: str, label: str | None) -> Codes:
    """The one code of an argument."""
    stored = _CODE.fullmatch(given)
    if stored is None:
        found = joined(
            [batch.codes for batch in encode_each(model, images_of(given), EncodeOptions(label, "float32"))]
        )
    else:
        found = Codes.load(Path(stored["file"]))
        check_codes(model, found)
        if stored["number"] is not None:
            return _numbered(found, given, int(stored["number"]))
    if len(found) != 1:
        remedy = f"pass {given}:N, the number of one" if stored else "pass one image"
        raise UsageError(f"{given} holds {len(found)} {'codes' if stored else 'images'}: {remedy}")
    return found


def _numbered(codes: Codes, given: str, number: int) -> Codes:
    if not 0 <= number < len(codes):
        raise UsageError(
            f"{given}: the file holds {len(codes)} codes; expected a number from 0 to {len(codes) - 1}"
        )
    return codes[number]
