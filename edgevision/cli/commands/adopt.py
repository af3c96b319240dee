"""`edgevision adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.options.suppression import nms_options, nms_spec
from edgevision.cli.options.types import BATCH, KEYPOINTS, SIZE, tensorrt_option
from edgevision.cli.present import Steps, verification_lines
from edgevision.contract.classes import read_class_names
from edgevision.contract.spec import BatchRange
from edgevision.engines.tensorrt.plan_file import read_plan_file, write_plan_folder

PLANS = (".engine", ".plan", ".trt")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--head", help="Head of the network, if it is not recognised. Not for engines.")
@click.option(
    "--class-names", "classes", type=click.Path(path_type=Path), help="File of class names, one per line."
)
@click.option(
    "--size",
    type=SIZE,
    help="Network input size, WxH, of a dynamic input. Default: the metadata's imgsz.",
)
@click.option(
    "--keypoints",
    type=KEYPOINTS,
    help="Keypoints of a pose and values of each, such as 17x3. Default: the metadata's kpt_shape, or the shapes.",
)
@click.option(
    "--frame", type=SIZE, help="Camera frame size, WxH; the graph resizes frames of this size itself."
)
@click.option(
    "--batch", type=BATCH, help="Batch size N, or MIN:OPT:MAX for a dynamic batch. Default: as in the file."
)
@nms_options
@click.option(
    "--timeout",
    type=FiniteRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Maximum time for the first result of a file with loops.",
)
@click.option("--images", type=click.Path(path_type=Path), help="Folder of real images for verification.")
@click.option(
    "--no-fp16",
    is_flag=True,
    help="Skip the FP16 graph. TensorRT engines then use FP32 and are about half as fast.",
)
@tensorrt_option
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Bundle to write.")
def command(
    model: Path,
    head: str | None,
    classes: Path | None,
    size: tuple[int, int] | None,
    keypoints: tuple[int, int] | None,
    frame: tuple[int, int] | None,
    batch: BatchRange | None,
    images: Path | None,
    timeout: float,
    no_fp16: bool,
    tensorrt: tuple[str, ...],
    output: Path,
    **nms: Any,
) -> None:
    """Adopt an ONNX model from elsewhere: uint8 frames in, results out.

    The head is recognised from the outputs, the operators and the metadata; --head is needed only if several fit.
    Heads: yolov5, yolov8 (also v9, v11 and later of that form), yolox, fastestdet, end2end (already decoded boxes),
    yolov8-pose and end2end-pose (keypoints), yolov8-obb and end2end-obb (oriented boxes), classifier.

    The finished graph is compared with the results of the original file, decoded in plain numpy. If they differ,
    nothing is written and the exit code is 2.

    A TensorRT engine of Ultralytics (MODEL.engine) contains no graph. Its header is removed and printed, so that
    trtexec and Triton can load the plan. It cannot become a bundle; adopt the ONNX file that it was built from.
    """
    if model.suffix in PLANS:
        _take_header_off(model, output)
        return
    from edgevision.cli.extras import require_adopt

    require_adopt("edgevision adopt")
    from edgevision.export.adoption import adopt_bundle
    from edgevision.export.half import with_fp16
    from edgevision.graph.adopt import AdoptOptions

    options = AdoptOptions(
        classes=read_class_names(classes) if classes else None,
        size_wh=size,
        keypoint_shape=keypoints,
        frame_wh=frame,
        batch=batch,
        nms=nms_spec(**nms),
        timeout_s=timeout,
        tensorrt=tensorrt,
    )
    steps = Steps()
    bundle = adopt_bundle(model, head, options, images, output, steps.done)
    if not no_fp16:
        bundle = with_fp16(bundle, steps.done, tensorrt)
    steps.done(f"wrote {output}")
    for entry in bundle.manifest.graphs:
        for verification in entry.verifications:
            click.echo(
                "\n".join([f"{entry.file.name} in {verification.engine}:", *verification_lines(verification)])
            )


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
