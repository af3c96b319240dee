"""`edgevision explain`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgevision.cli.options.defined import option_of
from edgevision.cli.options.groups import graph_options
from edgevision.cli.present import run_text
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import ENGINES, open_session
from edgevision.errors import UsageError
from edgevision.explain.heatmap import check_picture_name, draw_explanation, write_picture
from edgevision.explain.maps import PROBED_SHARE, ExplainOptions, Explanation, explain
from edgevision.explain.target import TargetChoice
from edgevision.service.config.settings import CameraSettings
from edgevision.sources.image_files import read_image


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Image file to write.")
@click.option("--class", "class_name", metavar="NAME", help="Explain the best result of this class.")
@click.option("--index", type=click.IntRange(min=0), help="Explain result N, counted from 0, best first.")
@option_of(CameraSettings, "threshold")
@click.option(
    "--masks",
    type=click.IntRange(min=2),
    default=800,
    show_default=True,
    help="Number of random masks, each one run of the graph; more masks are slower and less noisy.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random masks."
)
@click.option(
    "--engine", type=click.Choice(ENGINES), help="Engine to run. Default: the fastest verified one."
)
@graph_options
def command(
    bundle: Path,
    image: Path,
    output: Path,
    class_name: str | None,
    index: int | None,
    threshold: float | None,
    masks: int,
    seed: int,
    engine: str | None,
    precision: Precision | None,
    device: str | None,
    force: bool,
) -> None:
    """Show which parts of an image a result depends on.

    Parts of the image are hidden at random, and the graph runs on each version. Hot regions raise the score when they
    are visible. Without --class or --index the best result is explained. The map is then tested on the graph. A line
    gives the score without the hottest 20 % of the image, without the same shape at random places, and with the hottest
    part alone.
    """
    check_picture_name(output)
    if image.resolve() == output.resolve():
        raise UsageError(
            f"output {output} is the input image, which it would replace; expected another file name"
        )
    frame_bgr = read_image(image)
    options = ExplainOptions(masks=masks, seed=seed)
    session_options = SessionOptions(precision=precision, device=device, force=force)
    with (
        open_session(bundle, engine=engine, options=session_options) as session,
        click.progressbar(length=masks, label="masks", file=sys.stderr) as bar,
    ):
        choice = TargetChoice(index, class_name, session.threshold if threshold is None else threshold)
        explanation = explain(session, frame_bgr, choice, options, bar.update)
        ran = run_text(session)
    write_picture(output, draw_explanation(frame_bgr, explanation))
    click.echo("\n".join([ran, *explanation_lines(explanation)]))
    click.echo(f"wrote {output}")


def explanation_lines(explanation: Explanation) -> list[str]:
    """The explained result, where its heat lies, and the test of the map."""
    target, check = explanation.target, explanation.check
    place = ""
    if explanation.box is not None:
        place = " at " + ",".join(f"{value:.0f}" for value in explanation.box)
    unit = "of the image" if target.region is not None else "score"
    lines = [f"{target.name}{place}: {unit} {target.score:.3f}"]
    if explanation.inside is not None and explanation.inside_area is not None:
        what = "box" if explanation.box is not None else "region"
        lines.append(
            f"heat inside the {what}: {100 * explanation.inside:.0f} % (the {what} is"
            f" {100 * explanation.inside_area:.0f} % of the image)"
        )
    share = f"{100 * PROBED_SHARE:.0f} %"
    lines.append(
        f"whole image {check.whole:.3f}; hottest {share} hidden {check.hottest_hidden:.3f}; random {share} hidden"
        f" {check.random_hidden:.3f}; hottest {share} alone {check.hottest_shown:.3f}"
    )
    if not check.holds:
        lines.append(
            "the map failed its test: hiding the hottest part lowers the score little more than hiding random"
            f" places; try more masks than {explanation.options.masks}"
        )
    return lines
