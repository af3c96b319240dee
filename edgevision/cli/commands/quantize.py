"""`edgevision quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from edgevision.bundle.folder import Bundle, Verification
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.options.types import tensorrt_option
from edgevision.cli.present import Steps, table, verification_lines
from edgevision.contract.spec import ModelSpec
from edgevision.errors import UsageError

if TYPE_CHECKING:
    from edgevision.quantize.jobs import Report


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--precision",
    type=click.Choice(["fp16", "int8", "auto", "fp8"]),
    default="auto",
    show_default=True,
    help="Precision to make. auto: INT8; for --target tensorrt also FP16.",
)
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    help="Folder of real images for calibration; not for models that make images from noise.",
)
@click.option(
    "--calib-images",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="Number of images, or of noises, for calibration.",
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
    help="Accuracy limit: maximum loss in points of AP, top-1 or mIoU, or in dB of PSNR.",
)
@click.option(
    "--min-psnr",
    type=FiniteRange(0, 60, min_open=True, max_open=True),
    default=35.0,
    show_default=True,
    help="Accuracy limit of models that make images from noise, or other images of the same size without"
    " --annotations: minimum mean PSNR, in dB, to the float graph's images for the same inputs.",
)
@click.option(
    "--confidence",
    type=FiniteRange(0.5, 0.999),
    default=0.9,
    show_default=True,
    help="Share of bootstrap samples in which the loss must stay within --max-drop.",
)
@click.option(
    "--eval-images",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Folder of labelled images for the search; required for INT8; repeatable.",
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Labels for each --eval-images, in the same order: COCO JSON, data.yaml, YOLO, Pascal VOC or DOTA folder, or"
    " folder of masks or target images. Omit for class folders, for models that enlarge, and for models whose images"
    " have no targets, such as styles.",
)
@click.option(
    "--eval-limit",
    type=click.IntRange(min=1),
    multiple=True,
    help="Maximum number of images for each --eval-images, in the same order.",
)
@click.option(
    "--target",
    type=click.Choice(["cpu", "tensorrt"]),
    default="cpu",
    show_default=True,
    help="Engines that the graph is made for: cpu (OpenVINO; ONNX Runtime runs it slower than float) or tensorrt.",
)
@click.option(
    "--weight-bits",
    type=click.Choice(["auto", "7", "8"]),
    default="auto",
    show_default=True,
    help="Bits of INT8 weights. 7 avoids saturation on CPUs without VNNI. auto: 7 for --target cpu on such a CPU, else"
    " 8.",
)
@click.option(
    "--write-calibration-cache",
    is_flag=True,
    help="Write TensorRT's calibration cache beside the graph, for DLA and TensorRT 8 to 10.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads per call. Default: all cores.")
@click.option(
    "--strict", is_flag=True, help="Stop at the first image that cannot be decoded; default: skip a few."
)
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

    For INT8, the most sensitive layers are switched back to float until the accuracy loss is at most --max-drop. The
    loss must stay within this limit in at least the share --confidence of the bootstrap samples of --eval-images.
    Several --eval-images count in proportion to their number of images. Measure final accuracy on other images.

    For FP16 with --eval-images, every operation whose values fit FP16 starts in FP16. If the loss exceeds --max-drop,
    the groups of operations that add the most noise return to FP32. Without --eval-images, value ranges and rules
    decide which operations stay in FP32.

    The graph and a record of the search are added to the bundle. For INT8 the record is quantize.json, which lists
    every float layer, and pareto.png; for FP16 with --eval-images it is quantize.fp16.json. If the limit cannot be met,
    nothing is written and the exit code is 2.
    """
    if write_calibration_cache and precision not in ("int8", "auto"):
        raise UsageError(
            f"--write-calibration-cache writes the ranges of an INT8 graph; received --precision {precision}: omit one"
            " of them"
        )
    opened = Bundle.open(bundle)
    by_float = _measured_by_float(opened.spec, eval_images, annotations)
    _check_given(opened.spec, given["calib"], eval_images, by_float=by_float)
    from edgevision.cli.extras import require_quantize

    require_quantize("edgevision quantize")
    from edgevision.quantize.jobs import QuantizeJob, run_job
    from edgevision.quantize.options import QuantizeOptions, eval_sets
    from edgevision.quantize.search.generated import budget_of
    from edgevision.quantize.search.search import Budget

    if by_float:
        budget = budget_of(given["min_psnr"], given["confidence"])
    else:
        budget = Budget(given["max_drop"], given["confidence"])
    options = QuantizeOptions(
        calib=given["calib"],
        calib_images=given["calib_images"],
        method=given["calib_method"],
        budget=budget,
        eval_sets=eval_sets(eval_images, annotations, eval_limit),
        target=given["target"],
        weight_bits=_WEIGHT_BITS[given["weight_bits"]],
        threads=given["threads"],
        strict=given["strict"],
        tensorrt=given["tensorrt"],
    )
    job = QuantizeJob(opened, options, output, write_calibration_cache)
    for part in run_job(job, precision, Steps().done):
        click.echo("\n".join(_lines(part)))


def _measured_by_float(spec: ModelSpec, eval_images: tuple[Path, ...], annotations: tuple[Path, ...]) -> bool:
    """True if the float graph's images are the reference: no other image states what the model should make."""
    from edgevision.evaluation.images import without_targets

    return spec.task == "generate" or (
        bool(eval_images) and without_targets(spec, annotations[0] if annotations else None)
    )


def _check_given(
    spec: ModelSpec, calib: Path | None, eval_images: tuple[Path, ...], *, by_float: bool
) -> None:
    """Raise `UsageError` for images that the model does not need or lacks, and for the accuracy limit of other models.

    The imports of a quantization take seconds, so mistakes are reported before them.
    """
    if spec.task == "generate":
        for option, value in (("--calib", calib), ("--eval-images", eval_images)):
            if value:
                raise UsageError(
                    f"{spec.name} makes images from noise, which also calibrates and measures it: omit {option}"
                )
    elif calib is None:
        raise UsageError("the ranges of activations come from real images: pass --calib DIR")
    stated = click.get_current_context().get_parameter_source
    wrong, right = ("max_drop", "min_psnr") if by_float else ("min_psnr", "max_drop")
    if stated(wrong) is ParameterSource.COMMANDLINE:
        if wrong == "min_psnr" and spec.task == "translate" and not eval_images:
            raise UsageError("--min-psnr is measured on images: pass --eval-images DIR")
        names = [f"--{name.replace('_', '-')}" for name in (wrong, right)]
        raise UsageError(
            f"{names[0]} is not the limit of task {spec.task} with these images; received a bundle of {spec.name}:"
            f" use {names[1]}"
        )


_WEIGHT_BITS: dict[str, Literal[7, 8] | None] = {"auto": None, "7": 7, "8": 8}


def _lines(part: Report) -> list[str]:
    if isinstance(part, str):
        return [part]
    if isinstance(part, Verification):
        return verification_lines(part)
    return ["", *table(part.header, part.rows), ""]
