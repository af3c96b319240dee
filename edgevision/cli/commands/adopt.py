"""`edgevision adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgevision.cli.options.bundles import bundle_options
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.options.pixels import PixelOptions, pixel_options
from edgevision.cli.options.suppression import nms_spec
from edgevision.cli.options.types import BATCH, KEYPOINTS, SIZE
from edgevision.cli.present import Steps, finish_bundle
from edgevision.contract.classes import read_class_names
from edgevision.contract.spec import BatchRange, Fit, Layout
from edgevision.engines.tensorrt.plan_file import read_plan_file, write_plan_folder

PLANS = (".engine", ".plan", ".trt")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--head", help="Head of the network, if it is not recognised. Not for engines.")
@click.option(
    "--size",
    type=SIZE,
    help="Network input size WxH in pixels, for a dynamic input. Default: the metadata's imgsz.",
)
@click.option(
    "--keypoints",
    type=KEYPOINTS,
    help="Keypoints of a pose and values of each, such as 17x3. Default: the metadata's kpt_shape, or the shapes.",
)
@pixel_options
@click.option(
    "--fit",
    type=click.Choice(("letterbox", "stretch", "center-crop")),
    help="How a frame is fitted to the network's input. Default: that of the head.",
)
@click.option(
    "--batch", type=BATCH, help="Batch size N, or MIN:OPT:MAX for a dynamic batch. Default: as in the file."
)
@click.option(
    "--timeout",
    type=FiniteRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Maximum time for the first result of a file with loops.",
)
@bundle_options
def command(
    model: Path,
    head: str | None,
    classes: Path | None,
    size: tuple[int, int] | None,
    keypoints: tuple[int, int] | None,
    pixels: PixelOptions,
    fit: Fit | None,
    frame: tuple[int, int] | None,
    layout: Layout,
    batch: BatchRange | None,
    images: Path | None,
    timeout: float,
    no_fp16: bool,
    tensorrt: tuple[str, ...],
    output: Path,
    **nms: Any,
) -> None:
    """Convert an ONNX model of another exporter to a verified bundle.

    The head is recognised from the outputs, the operators and the metadata; --head is needed only if several fit.
    Detectors: YOLOv5 to YOLO26, YOLOX, YOLO-NAS, DAMO-YOLO, PP-YOLOE, PicoDet, NanoDet, SSD, FastestDet, RT-DETR,
    D-FINE, DEIM, RF-DETR, DETR, and exports with NMS, also as a plugin of TensorRT. Keypoints, oriented boxes and
    instance masks of YOLOv8, YOLO11 and YOLO26; semantic segmentation; classifiers; super-resolution. docs/export.md
    lists the heads.

    The finished graph is compared with the results of the original file, decoded in plain numpy. If they differ,
    nothing is written and the exit code is 2. The pixel format cannot be compared: check the printed one, and change
    it with --colour, --scale, --mean and --std.

    A TensorRT engine of Ultralytics (MODEL.engine) contains no graph. Its header is removed and printed, so that
    trtexec and Triton can load the plan. It cannot become a bundle; adopt the ONNX file that it was built from.
    """
    if model.suffix in PLANS:
        _take_header_off(model, output)
        return
    from edgevision.cli.extras import require_adopt

    require_adopt("edgevision adopt")
    from edgevision.export.adoption import adopt_bundle
    from edgevision.graph.adopt import AdoptOptions
    from edgevision.graph.foreign.pixels import PixelChanges

    options = AdoptOptions(
        classes=read_class_names(classes) if classes else None,
        size_wh=size,
        keypoint_shape=keypoints,
        pixel_changes=PixelChanges(*pixels),
        fit=fit,
        frame_wh=frame,
        layout=layout,
        batch=batch,
        nms=nms_spec(**nms),
        mask_nms=nms_spec(**nms, task="instances"),
        timeout_s=timeout,
        tensorrt=tensorrt,
    )
    steps = Steps()
    bundle = adopt_bundle(model, head, options, images, output, steps.done)
    finish_bundle(bundle, steps, tensorrt, fp16=not no_fp16)


def _take_header_off(model: Path, output: Path) -> None:
    found = read_plan_file(model)
    write_plan_folder(found, output)
    for entry in found.header:
        text = entry.value if len(entry.value) <= 100 else f"{entry.value[:97]}..."
        click.echo(f"{entry.name:<12} {text}")
    click.echo(
        f"wrote {output}: model.plan ({len(found.plan):,} bytes, plain), header.json\n"
        "The plan needs the TensorRT version that built it and the same GPU model; the header names neither. To"
        " verify it, to run it with edgevision, or to move it, adopt the ONNX file it came from."
    )
