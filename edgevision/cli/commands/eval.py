"""`edgevision eval`."""

from __future__ import annotations

from pathlib import Path

import click

from edgevision.cli.accuracy import ThresholdRequest, measured_accuracy
from edgevision.cli.options.defined import option_of
from edgevision.cli.options.groups import graph_options
from edgevision.cli.options.numbers import FiniteRange
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import ENGINES
from edgevision.errors import SinkError, UsageError
from edgevision.service.config.settings import CameraSettings
from edgevision.storage import atomic
from edgevision.storage.codec import json_text


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Folder of images.")
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    help="COCO JSON, data.yaml, Pascal VOC, YOLO or DOTA folder, or a folder of masks or target images. Without it,"
    " --images contains one folder per class, or the target images.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of images to measure.")
@click.option(
    "--engine", type=click.Choice(ENGINES), help="Engine to measure. Default: the fastest verified one."
)
@click.option(
    "--iou",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    help="IoU threshold of NMS.  [default: 0.65]",
)
@graph_options
@option_of(
    CameraSettings,
    "threshold",
    help="Print precision and recall at this confidence; default: at the bundle's operating point, if it has one.",
)
@click.option(
    "--write-thresholds",
    is_flag=True,
    help="Choose a confidence threshold for each class, and store them in the bundle as its operating point. Use images"
    " that were not used for training.",
)
@click.option(
    "--judge",
    type=click.Path(path_type=Path, exists=True),
    help="Run of a `cnn` or `digits` whose features compare generated images with real ones. Default: the included"
    " digits.",
)
@click.option(
    "--strict", is_flag=True, help="Stop at the first image that cannot be decoded; default: skip a few."
)
@click.option(
    "--record", "json_file", type=click.Path(path_type=Path), help="Write the results to this JSON file."
)
def command(
    bundle: Path,
    images: Path,
    annotations: Path | None,
    limit: int | None,
    engine: str | None,
    iou: float | None,
    precision: Precision | None,
    device: str | None,
    force: bool,
    threshold: float | None,
    write_thresholds: bool,
    judge: Path | None,
    strict: bool,
    json_file: Path | None,
) -> None:
    """Measure the accuracy of a graph on labelled images.

    Detection: COCO's box metrics. eval sets the IoU threshold of NMS to 0.65 and the score threshold to 0.001, the
    usual values for COCO; nothing else in the graph is changed. Instance segmentation: the same metrics for boxes and
    for masks. Poses: AP of boxes, and AP by OKS of keypoints. Oriented boxes: AP by exact IoU of the rotated boxes.
    Segmentation: IoU of each class and their mean, with single-channel masks whose values are labels. Classification:
    top-1 and top-5. Image to image: PSNR and SSIM of luma, with the target images in --annotations. Without it,
    --images are the targets of a model that enlarges, and its inputs are made from them (bicubic, antialiased).
    Generation by class: feature distance, precision and recall, and the share of images of the class that was asked
    for, by the classifier in --judge; --images contains real images, as one folder per class or as idx files.

    With --write-thresholds, --threshold, or a bundle with an operating point, eval also prints precision, recall and F1
    at the confidence threshold. A second pass measures them with NMS as exported, as in `edgevision run`. A detection
    is correct at IoU 0.5 with a labelled box, a pose at OKS 0.5, an oriented box at IoU 0.5 of the rotated boxes.
    """
    if not images.is_dir():
        raise UsageError(f"--images {images} is not a folder")
    options = SessionOptions(iou_threshold=iou, precision=precision, device=device, force=force)
    request = ThresholdRequest(threshold, write_thresholds)
    record, lines = measured_accuracy(
        bundle, images, annotations, engine, options, request, limit=limit, strict=strict, judge=judge
    )
    _print_and_store(record, lines, json_file)


def _print_and_store(record: object, lines: list[str], json_file: Path | None) -> None:
    click.echo("\n".join(lines))
    if json_file is not None:
        try:
            atomic.write_file(json_file, json_text(record).encode())
        except OSError as error:
            raise SinkError(f"cannot write {json_file}: {error.strerror}") from error
