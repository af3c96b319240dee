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
    help="auto: INT8, and FP16 too where the target is tensorrt.",
)
@click.option("--calib", type=click.Path(path_type=Path), required=True, help="Folder of real images.")
@click.option("--calib-images", type=click.IntRange(min=1), default=128, show_default=True)
@click.option(
    "--calib-method",
    type=click.Choice(["mse", "percentile", "entropy", "max"]),
    default="percentile",
    show_default=True,
)
@click.option(
    "--max-drop",
    type=FiniteRange(min=0),
    default=0.5,
    show_default=True,
    help="Points of AP, top-1 or mIoU that may be lost.",
)
@click.option(
    "--confidence",
    type=FiniteRange(0.5, 0.999),
    default=0.9,
    show_default=True,
    help="Share of a bootstrap's draws in which the budget must be kept.",
)
@click.option(
    "--eval-images",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Labelled images that the search measures on; again for more folders.",
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    multiple=True,
    help="For each --eval-images a COCO file or a folder of masks; none for folders of classes.",
)
@click.option(
    "--eval-limit",
    type=click.IntRange(min=1),
    multiple=True,
    help="For each --eval-images, how many images to take.",
)
@click.option("--target", type=click.Choice(["cpu", "tensorrt"]), default="cpu", show_default=True)
@click.option(
    "--weight-bits",
    type=click.Choice(["auto", "7", "8"]),
    default="auto",
    show_default=True,
    help="Bits of INT8 weights: 7 for CPUs without VNNI, where sums of products saturate; auto: as this CPU needs.",
)
@click.option(
    "--write-calibration-cache",
    is_flag=True,
    help="Write TensorRT's calibration cache beside the graph, for DLA and TensorRT 8 to 10.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads for one call. Default: all.")
@click.option("--strict", is_flag=True, help="End at the first image that cannot be decoded.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write a new bundle instead of adding to BUNDLE."
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
    """Make a graph of lower precision that keeps its accuracy, or say no.

    INT8 is searched: the layers that cost most go back to float until the drop is within --max-drop in the share
    --confidence of a paired bootstrap over the --eval-images. Report figures on other images than these.
    The graph, quantize.json with every layer kept in float, and pareto.png go into the bundle. Exit code 2 if the
    budget cannot be kept; then nothing is written.
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
