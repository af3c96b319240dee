"""`edgevision adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgevision.classes import read_class_names
from edgevision.cli.options import BATCH, SIZE
from edgevision.cli.present import Steps, verification_lines
from edgevision.cli.suppression import nms_options, nms_spec
from edgevision.spec import BatchRange


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--head", required=True, help="What its outputs are; an unknown HEAD lists the known ones.")
@click.option("--classes", type=click.Path(path_type=Path), help="Class names, one a line.")
@click.option("--size", type=SIZE, help="Network input size, WxH, where the file leaves it open.")
@click.option("--frame", type=SIZE, help="Camera size, WxH: the graph itself scales such frames.")
@click.option("--batch", type=BATCH, help="N, or MIN:OPT:MAX for a dynamic one. Default: the file's own.")
@nms_options
@click.option("--images", type=click.Path(path_type=Path), help="Folder of real images to verify on.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The bundle to write.")
def command(
    model: Path,
    head: str,
    classes: Path | None,
    size: tuple[int, int] | None,
    frame: tuple[int, int] | None,
    batch: BatchRange | None,
    images: Path | None,
    output: Path,
    **nms: Any,
) -> None:
    """Give somebody else's ONNX model the contract: uint8 frames in, answers out.

    Heads: yolov5, yolov8 (also v9, v11 and later of that form), yolox, fastestdet, end2end (already decoded boxes),
    classifier. The finished graph is held against what the file itself answers, decoded in plain numpy; if they differ
    nothing is written and the exit code is 2.
    """
    from edgevision.cli.extras import require_adopt

    require_adopt("edgevision adopt")
    from edgevision.export.adoption import adopt_bundle
    from edgevision.graph.adopt import AdoptOptions

    options = AdoptOptions(
        classes=read_class_names(classes) if classes else None,
        size_wh=size,
        frame_wh=frame,
        batch=batch,
        nms=nms_spec(**nms),
    )
    steps = Steps()
    bundle = adopt_bundle(model, head, options, images, output, steps.done)
    steps.done(f"wrote {output}")
    for verification in bundle.graph("float").verifications:
        click.echo("\n".join(verification_lines(verification)))
