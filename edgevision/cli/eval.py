"""`edgevision eval`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from edgevision import atomic
from edgevision.accuracy.classification import (
    ClassificationAccuracy,
    accuracy_from_scores,
    classify_all,
    read_class_folders,
)
from edgevision.cli.present import table
from edgevision.codec import json_from_dataclass
from edgevision.errors import SinkError, UsageError
from edgevision.session import ENGINES, Session, SessionOptions, open_session


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Folder of images.")
@click.option(
    "--annotations", type=click.Path(path_type=Path), help="COCO json; without it, folders of classes."
)
@click.option("--limit", type=click.IntRange(min=1), help="Measure on this many images only.")
@click.option("--engine", type=click.Choice(ENGINES), help="Default: the first that is installed.")
@click.option(
    "--iou", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Suppression threshold.  [0.65]"
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the record here.")
def command(
    bundle: Path,
    images: Path,
    annotations: Path | None,
    limit: int | None,
    engine: str | None,
    iou: float | None,
    json_file: Path | None,
) -> None:
    """Measure accuracy on labelled images, on exactly the graph that runs.

    Detection: COCO's box metrics, with suppression at IoU 0.65 and score floor 0.001 unless told otherwise; both are
    named values inside the graph, which stays as it is otherwise. Classification: top-1 and top-5.
    """
    if not images.is_dir():
        raise UsageError(f"--images {images} is not a folder")
    if annotations is not None:
        record, lines = _detection(bundle, images, annotations, limit, engine, iou)
    else:
        record, lines = _classification(bundle, images, limit, engine)
    click.echo("\n".join(lines))
    if json_file is not None:
        try:
            atomic.write_file(json_file, (json.dumps(record, indent=2) + "\n").encode())
        except OSError as error:
            raise SinkError(f"cannot write {json_file}: {error.strerror}") from error


def _detection(
    bundle: Path, images: Path, annotations: Path, limit: int | None, engine: str | None, iou: float | None
) -> tuple[object, list[str]]:
    from edgevision.cli.extras import require_eval

    require_eval("edgevision eval --annotations")
    from edgevision.accuracy import detection as measure

    options = SessionOptions(iou_threshold=iou or measure.PROTOCOL_IOU, score_floor=measure.PROTOCOL_FLOOR)
    with open_session(bundle, engine=engine, options=options) as session:
        if session.spec.task != "detect":
            raise UsageError(
                f"{bundle} does not detect; leave --annotations out and name folders for classes"
            )
        labelled = measure.read_annotations(annotations, images, session.spec.classes, limit=limit)
        with click.progressbar(
            measure.detect_all(session, labelled),
            length=len(labelled.image_ids),
            label="images",
            file=sys.stderr,
        ) as running:
            accuracy = measure.accuracy_from_detections(labelled, list(running))
        if labelled.left_out:
            names = ", ".join(labelled.left_out)
            click.echo(f"not measured, for the model knows no such class: {names}", err=True)
        settings = f"NMS IoU {options.iou_threshold:g}, score floor {options.score_floor:g}"
        heading = _heading(session, f"{accuracy.images} images, {accuracy.boxes} boxes, {settings}")
    rows = [[c.name, str(c.boxes), f"{c.ap:.1f}", f"{c.ap50:.1f}"] for c in accuracy.classes if c.boxes]
    lines = [
        heading,
        *table(["class", "boxes", "AP", "AP50"], rows),
        f"AP {accuracy.ap:.1f}  AP50 {accuracy.ap50:.1f}  AP75 {accuracy.ap75:.1f}  small {accuracy.ap_small:.1f}"
        f"  medium {accuracy.ap_medium:.1f}  large {accuracy.ap_large:.1f}  recall@100 {accuracy.recall100:.1f}",
    ]
    return json_from_dataclass(accuracy), lines


def _classification(
    bundle: Path, images: Path, limit: int | None, engine: str | None
) -> tuple[object, list[str]]:
    with open_session(bundle, engine=engine) as session:
        if session.spec.task != "classify":
            raise UsageError(f"{bundle} does not classify; measure a detector with --annotations COCO.json")
        found = read_class_folders(images, session.spec.classes, limit=limit)
        with click.progressbar(
            classify_all(session, found),
            length=len(found),
            label="images",
            file=sys.stderr,
        ) as running:
            accuracy: ClassificationAccuracy = accuracy_from_scores(session.spec.classes, list(running))
        heading = _heading(session, f"{accuracy.images} images")
    rows = [[c.name, str(c.images), f"{c.recall:.1f}"] for c in accuracy.classes if c.images]
    lines = [
        heading,
        *table(["class", "images", "recall"], rows),
        f"top-1 {accuracy.top1:.2f} %  top-5 {accuracy.top5:.2f} %",
    ]
    return json_from_dataclass(accuracy), lines


def _heading(session: Session, what: str) -> str:
    return f"{session.spec.name}, {session.info.library} on {session.info.device}: {what}"
