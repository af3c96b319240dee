"""`edgevision demo`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edgevision.cli.present import Steps


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path), help="A YOLOv5 checkpoint of your own.")
@click.option("--source", help="Video file or camera index. Default: a clip found or made here.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("out/demo"),
    show_default=True,
    help="Folder.",
)
@click.pass_context
def command(ctx: click.Context, checkpoint: Path | None, source: str | None, output: Path) -> None:
    """The main job in one go: export a checkpoint, verify it, run it on a clip, benchmark it.

    Without --checkpoint the official YOLOv5n is taken from $EDGEVISION_DATA, from the cache, or from its release, with
    its sha256 checked. Ends with a table and the paths of the annotated video and the bundle.
    """
    from edgevision.cli import bench, export, run, verify

    steps = Steps()
    data = Path(os.environ["EDGEVISION_DATA"]) if os.environ.get("EDGEVISION_DATA") else None
    checkpoint = checkpoint or _checkpoint(steps, data)
    source = source or _clip(steps, data, output)
    bundle, video = output / checkpoint.stem, output / "annotated.mp4"
    record, lines = output / "bench.json", output / "detections.jsonl"
    stages = (
        ("export", export.command, ["yolov5", "--checkpoint", str(checkpoint), "-o", str(bundle)]),
        ("verify", verify.command, [str(bundle)]),
        ("run", run.command, [str(bundle), source, "-o", str(video), "--jsonl", str(lines)]),
        ("bench", bench.command, [str(bundle), "--source", source, "--json", str(record)]),
    )
    for title, stage, arguments in stages:
        click.secho(f"\n$ edgevision {title} {' '.join(arguments)}", bold=True)
        with stage.make_context(title, list(arguments), parent=ctx) as inner:
            stage.invoke(inner)
    click.echo("")
    for label, path in (
        ("annotated video", video),
        ("detections", lines),
        ("benchmark record", record),
        ("bundle", bundle),
    ):
        click.echo(f"{label:<18}{path.resolve()}")


def _checkpoint(steps: Steps, data: Path | None) -> Path:
    from edgevision.cli.extras import require_export

    require_export("edgevision demo")
    from edgevision.export.recipe import load_recipe
    from edgevision.export.release import obtain

    release = load_recipe("yolov5").release
    assert release is not None, "the yolov5 recipe names a release"
    path = obtain(release, steps.done, data=data)
    steps.done(f"checkpoint {path}, sha256 as released")
    return path


def _clip(steps: Steps, data: Path | None, output: Path) -> str:
    """The street video of the test data where that is, else a virtual camera's look at our photographs."""
    if data is not None and (data / "video" / "vtest.avi").is_file():
        return str(data / "video" / "vtest.avi")
    from edgevision.sinks import write_clip
    from edgevision.virtual_camera import VirtualCamera

    camera = VirtualCamera()
    clip = output / "virtual_camera.mp4"
    write_clip(clip, camera.frames(camera.cycle), camera.size_wh, fps=25.0)
    steps.done(f"made a clip of {camera.cycle} frames, {clip.stat().st_size / 1e6:.1f} MB: {clip}")
    return str(clip)
