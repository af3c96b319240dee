"""`edgevision demo`."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

import edgevision
from edgevision.benchmark.record_files import read_record
from edgevision.bundle.folder import Bundle, Verification
from edgevision.bundle.packaged import bundle_path
from edgevision.cli.extras import can_export
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.present import Steps, table
from edgevision.contract.boxes import iou_matrix
from edgevision.errors import UsageError
from edgevision.sinks.opening import write_clip
from edgevision.sources.synthetic_camera import SyntheticCamera

STREET = Path(edgevision.__file__).parent / "weights" / "street.safetensors"
THRESHOLD = 0.6
"""Threshold at which the trained model calls few other objects persons and still finds nearly all people of the clip.
"""
CAMERA_FRAMES = 250
WELL_IN_VIEW = 0.75
"""Minimum visible share of a person who is counted."""
SAME_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Boxed:
    """Detections of a clip compared with the known people in it, summed over all frames."""

    people: int
    """People who are well in view."""
    boxed: int
    nobody: int
    """Person boxes that overlap every visible person by less than a tenth."""


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path), help="YOLOv5 checkpoint to use instead.")
@click.option(
    "--official", is_flag=True, help="Use the official YOLOv5n (AGPL-3.0); download it if it is missing."
)
@click.option(
    "--source", help="Video file or camera index, such as 0. Default: a generated clip of photographs."
)
@click.option(
    "--threshold",
    type=FiniteRange(0, 1),
    default=THRESHOLD,
    show_default=True,
    help="Minimum confidence of a detection.",
)
@click.option(
    "--seconds",
    type=FiniteRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Minimum time for each phase of each engine's benchmark.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("out/demo"),
    show_default=True,
    help="Folder for all output files.",
)
@click.pass_context
def command(
    ctx: click.Context,
    checkpoint: Path | None,
    official: bool,
    source: str | None,
    threshold: float,
    seconds: float,
    output: Path,
) -> None:
    """Export a checkpoint, verify it, run it on a clip and benchmark it.

    Without options it exports the included detector, `street`; without torch it uses the packaged bundle. The clip is a
    synthetic camera that pans over photographs of people, cats and cups; nothing is downloaded. A real camera supplies
    250 frames. Each step prints the equivalent command. The output ends with a table of the engines and the paths of
    all files written.
    """
    if checkpoint is not None and official:
        raise UsageError("--checkpoint and --official both name a model; expected only one of them")
    steps = Steps()
    packaged = checkpoint is None and not official and not can_export()
    checkpoint = checkpoint or (_official(steps) if official else STREET)
    clip = source or str(_clip(steps, output / "clip.mp4"))
    video, lines = output / "annotated.mp4", output / "detections.jsonl"
    camera = re.fullmatch(r"(?:/dev/video)?\d+", clip) is not None
    if packaged:
        bundle = Path(STREET.stem)
        steps.done(
            "packaged bundle street; with torch the demo exports it: pip install 'edgevision[export,cpu]'"
        )
    else:
        bundle = output / checkpoint.stem
        _call(ctx, "export", "yolov5", "--checkpoint", checkpoint, "--no-fp16", "-o", bundle)
    _call(ctx, "verify", bundle)
    limit = ("--limit", CAMERA_FRAMES) if camera else ()
    _call(ctx, "run", bundle, clip, "-o", video, "--jsonl", lines, "--threshold", threshold, *limit)
    verified = _verified(bundle)
    records = {record.engine: output / f"bench.{record.engine}.json" for record in verified}
    measured = () if camera else ("--source", clip)
    for engine, path in records.items():
        options = ("--engine", engine, "--seconds", seconds, "--record", path)
        _call(ctx, "bench", bundle, *measured, *options)
    click.echo("")
    click.echo("\n".join(_engine_table(verified, records)))
    click.echo("")
    if source is None and "person" in Bundle.open(bundle).spec.classes:
        click.echo(_people_line(lines, threshold))
    for label, path in (
        ("annotated video", video),
        ("detections", lines),
        *((f"benchmark, {engine}", path) for engine, path in records.items()),
        ("bundle", bundle_path(bundle)),
    ):
        click.echo(f"{label:<24}{path.resolve()}")


def boxed_people(lines: Path, camera: SyntheticCamera) -> Boxed:
    """Compare the JSON lines of a run on the synthetic camera's clip with the people in its view."""
    people = boxed = nobody = 0
    for index, line in enumerate(lines.read_text().splitlines()):
        found = [entry["box"] for entry in json.loads(line)["detections"] if entry["class"] == "person"]
        seen = camera.people(index)
        overlaps = iou_matrix(seen.boxes, np.array(found, np.float32).reshape(-1, 4))
        asked = seen.shares >= WELL_IN_VIEW
        people += int(asked.sum())
        boxed += int((overlaps[asked].max(axis=1, initial=0) >= SAME_IOU).sum())
        nobody += int((overlaps.max(axis=0, initial=0) < 0.1).sum())
    return Boxed(people, boxed, nobody)


def _call(ctx: click.Context, name: str, *arguments: object) -> None:
    """Print a command and run it."""
    from edgevision.cli.root import edgevision as group

    words = [str(argument) for argument in arguments]
    click.secho(f"\n$ edgevision {' '.join([name, *words])}", bold=True)
    stage = group.get_command(ctx, name)
    assert stage is not None, "the group has this command"
    with stage.make_context(name, words, parent=ctx) as inner:
        stage.invoke(inner)


def _verified(bundle: Path) -> list[Verification]:
    """The records of the engines that `verify` has just checked, in that order."""
    records = Bundle.open(bundle).graph("float").verifications
    return [record for record in records if record.stage == "verify"]


def _engine_table(verified: list[Verification], records: dict[str, Path]) -> list[str]:
    rows = []
    for verification in verified:
        record = read_record(records[verification.engine])
        inference = record.inference_alone
        rows.append(
            [
                record.engine.library.split("-")[0],  # without build number and branch
                f"{len(verification.checks)} checks, {verification.frames} frames",
                f"{inference.p50_ms:.2f} ms",
                f"{inference.p99_ms:.2f} ms",
                f"{record.end_to_end_frames_per_s:.1f}",
            ]
        )
    return table(["engine", "verified by", "inference p50", "p99", "frames/s end to end"], rows)


def _people_line(lines: Path, threshold: float) -> str:
    boxed = boxed_people(lines, SyntheticCamera())
    share = 100 * boxed.boxed / boxed.people
    return (
        f"people detected at confidence {threshold:g}: {boxed.boxed} of {boxed.people} ({share:.1f} %) of those at"
        f" least three quarters in view, summed over all frames; boxes without a person: {boxed.nobody}"
    )


def _official(steps: Steps) -> Path:
    from edgevision.cli.extras import require_export

    require_export("edgevision demo")
    from edgevision.export.release import obtain
    from edgevision.models.recipe import load_recipe

    release = load_recipe("yolov5").release
    assert release is not None, "the yolov5 recipe names a release"
    data = Path(os.environ["EDGEVISION_DATA"]) if os.environ.get("EDGEVISION_DATA") else None
    path = obtain(release, steps.done, data=data)
    steps.done(f"checkpoint {path}, sha256 as released")
    return path


def _clip(steps: Steps, path: Path) -> Path:
    camera = SyntheticCamera()
    write_clip(path, camera.frames(camera.cycle), camera.size_wh, fps=25.0)
    steps.done(f"made a clip of {camera.cycle} frames, {path.stat().st_size / 1e6:.1f} MB: {path}")
    return path
