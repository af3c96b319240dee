"""`edgevision encode`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import click
import numpy as np

from edgevision.cli.coders import open_autoencoder
from edgevision.cli.options.making import opening_options
from edgevision.cli.present import run_text
from edgevision.contract.session import SessionOptions
from edgevision.inference.codes import Codes, CodeType, check_codes_file, joined
from edgevision.inference.coding import EncodeOptions, encode_each, label_of_codes
from edgevision.inference.inputs import InputImage, images_of
from edgevision.sinks.files.images import probe_folder


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True)
@click.option(
    "--label",
    metavar="N|NAME",
    help="Class of all images. Default: of each image the class with the best reconstruction.",
)
@click.option(
    "--dtype",
    type=click.Choice(get_args(CodeType)),
    default="float16",
    show_default=True,
    help="Type of the stored values.",
)
@click.option("--check", is_flag=True, help="Decode the codes too, and print the PSNR of the images.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.npz")
@opening_options
def command(
    bundle: Path,
    images: tuple[str, ...],
    label: str | None,
    dtype: CodeType,
    check: bool,
    output: Path,
    engine: str | None,
    opening: SessionOptions,
) -> None:
    """Compress images to codes with an autoencoder's encoder.

    IMAGES are files, folders and patterns. An image of another size is stretched to the model's size. The file holds
    the code, the class and the file's name of each image; edgevision decode makes images of it.
    """
    check_codes_file(output)
    with open_autoencoder(bundle, engine, opening) as model:
        label_of_codes(model.spec, label)
        found = (image for given in images for image in images_of(given))
        counted = _Counted(found)
        probe_folder(output.parent)
        said = run_text(model.encoder)
        began = time.perf_counter()
        batches = list(encode_each(model, counted, EncodeOptions(label, dtype, check)))
        seconds = time.perf_counter() - began
        codes = joined([batch.codes for batch in batches])
        click.echo(f"{said}: {len(codes)} images in {seconds:.1f} s")
    codes.save(output)
    click.echo(_sizes(codes, output, counted.file_bytes))
    if check:
        click.echo(_quality(codes, [value for batch in batches for value in batch.psnr]))
    click.echo(f"wrote {output}")


class _Counted:
    """Images, and the mean size of their files."""

    def __init__(self, images: Iterator[InputImage]) -> None:
        self._images = images
        self._sizes: list[int] = []

    def __iter__(self) -> Iterator[InputImage]:
        for image in self._images:
            file = Path(image.name)
            if file.is_file():
                self._sizes.append(file.stat().st_size)
            yield image

    @property
    def file_bytes(self) -> float | None:
        """Mean size of the images' files; None without any."""
        return float(np.mean(self._sizes)) if self._sizes else None


def _sizes(codes: Codes, output: Path, file_bytes: float | None) -> str:
    values = f"{codes.values.shape[1]} values {codes.values.dtype} and the class"
    files = "" if file_bytes is None else f"; the files of the images have {file_bytes:,.0f} on average"
    written = output.stat().st_size
    whole = f"{output.name} has {written:,} bytes with the names"
    return f"{codes.bytes_per_image} bytes an image ({values}){files}; {whole}"


def _quality(codes: Codes, psnr: Sequence[float]) -> str:
    lowest = int(np.argmin(psnr))
    where = f" ({codes.names[lowest]})" if codes.names[lowest] else ""
    return f"reconstruction: PSNR {np.mean(psnr):.2f} dB on average, lowest {psnr[lowest]:.2f} dB{where}"
