"""`edgevision quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgevision.bundle.folder import Bundle, Verification
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.options.types import tensorrt_option
from edgevision.cli.present import Steps, table, verification_lines

if TYPE_CHECKING:
    from edgevision.quantize.jobs import Report


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--precision",
    type=click.Choice(["fp16", "int8", "auto", "fp8"]),
    default="auto",
    show_default=True,
    help="Precision to make. auto: INT8, and also FP16 if the target is tensorrt.",
)
@click.option(
    "--calib", type=click.Path(path_type=Path), required=True, help="Folder of real images for calibration."
)
@click.option(
    "--calib-images",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="Number of images for calibration.",
)
@click.option(
    "--calib-method",
    type=click.Choice(["mse", "percentile", "entropy", "max"]),
    default="percentile",
    show_default=True,
    help="Calibration method.",
)
@click.option(
    "--max-drop",
    type=FiniteRange(min=0),
    default=0.5,
    show_default=True,
    help="Maximum loss of accuracy, in points of AP, top-1 or mIoU.",
)
@click.option(
    "--confidence",
    type=FiniteRange(0.5, 0.999),
    default=0.9,
    show_default=True,
    help="Share of bootstrap draws in which the accuracy loss stays within --max-drop.",
)
@click.option(
    "--eval-images",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Folder of labelled images for the search; repeatable.",
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    multiple=True,
    help="COCO file or folder of masks for each --eval-images; omit it for class folders.",
)
@click.option(
    "--eval-limit",
    type=click.IntRange(min=1),
    multiple=True,
    help="Maximum number of images for each --eval-images.",
)
@click.option(
    "--target",
    type=click.Choice(["cpu", "tensorrt"]),
    default="cpu",
    show_default=True,
    help="Engine that the graph is made for.",
)
@click.option(
    "--weight-bits",
    type=click.Choice(["auto", "7", "8"]),
    default="auto",
    show_default=True,
    help="Bits of INT8 weights: 7 for CPUs without VNNI, where sums of products saturate; auto: according to this"
    " CPU.",
)
@click.option(
    "--write-calibration-cache",
    is_flag=True,
    help="Write TensorRT's calibration cache beside the graph, for DLA and TensorRT 8 to 10.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads per call. Default: all cores.")
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be decoded.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Bundle to write. Default: add the graph to BUNDLE.",
)
@tensorrt_option
def command(
    bundle: Path,
    precision: str,
    output: Path | None,
    write_calibration_cache: bool,
    eval_images: tuple[Path, ...],
    annotations: tuple[Path, ...],
    eval_limit: tuple[int, ...],
    **given: Any,
) -> None:
    """Make a graph of lower precision within an accuracy limit.

    INT8 is searched: the most sensitive layers return to float until the loss is within --max-drop. This must hold in
    the share --confidence of a paired bootstrap over the --eval-images. Report accuracy on other images than these.

    The bundle receives the graph, quantize.json with every layer kept in float, and pareto.png. If the limit cannot be
    met, nothing is written and the exit code is 2.
    """
    from edgevision.cli.extras import require_quantize

    require_quantize("edgevision quantize")
    from edgevision.quantize.jobs import QuantizeJob, run_job
    from edgevision.quantize.options import QuantizeOptions, eval_sets
    from edgevision.quantize.search.search import Budget

    options = QuantizeOptions(
        calib=given["calib"],
        calib_images=given["calib_images"],
        method=given["calib_method"],
        budget=Budget(given["max_drop"], given["confidence"]),
        eval_sets=eval_sets(eval_images, annotations, eval_limit),
        target=given["target"],
        weight_bits=_WEIGHT_BITS[given["weight_bits"]],
        threads=given["threads"],
        strict=given["strict"],
        tensorrt=given["tensorrt"],
    )
    job = QuantizeJob(Bundle.open(bundle), options, output, write_calibration_cache)
    for part in run_job(job, precision, Steps().done):
        click.echo("\n".join(_lines(part)))


_WEIGHT_BITS: dict[str, Literal[7, 8] | None] = {"auto": None, "7": 7, "8": 8}


def _lines(part: Report) -> list[str]:
    if isinstance(part, str):
        return [part]
    if isinstance(part, Verification):
        return verification_lines(part)
    return ["", *table(part.header, part.rows), ""]
