"""`edgevision explain`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgevision.cli.options.defined import option_of
from edgevision.cli.options.types import graph_options
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
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The picture to write.")
@click.option("--class", "class_name", metavar="NAME", help="Explain the best answer of this class.")
@click.option("--index", type=click.IntRange(min=0), help="Explain the N-th answer, from 0, best first.")
@option_of(CameraSettings, "threshold")
@click.option(
    "--masks",
    type=click.IntRange(min=2),
    default=800,
    show_default=True,
    help="Random masks, each a run of the graph: more are slower and less noisy.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random masks.")
@click.option("--engine", type=click.Choice(ENGINES), help="Default: the first that is installed.")
@graph_options
def command(
    bundle: Path,
    image: Path,
    output: Path,
    class_name: str | None,
    index: int | None,
    threshold: float,
    masks: int,
    seed: int,
    engine: str | None,
    precision: Precision | None,
    force: bool,
) -> None:
    """Show which parts of an image an answer rests on.

    Parts of the image are hidden at random and the graph is asked again: where it is hot, the answer scores higher if
    that place can be seen. Without --class or --index the best answer is explained. The map is then tried on the
    graph: a line says what the answer scores without the hottest 20 % of the image, without the same shape in random
    places, and with the hottest alone.
    """
    check_picture_name(output)
    if image.resolve() == output.resolve():
        raise UsageError(f"output {output} is the image itself: it would be replaced")
    frame_bgr = read_image(image)
    options = ExplainOptions(masks=masks, seed=seed)
    session_options = SessionOptions(precision=precision, force=force)
    with (
        open_session(bundle, engine=engine, options=session_options) as session,
        click.progressbar(length=masks, label="masks", file=sys.stderr) as bar,
    ):
        choice = TargetChoice(index, class_name, threshold)
        explanation = explain(session, frame_bgr, choice, options, bar.update)
        ran = f"{session.spec.name}, {session.precision or 'bare'} graph, {session.info.library}"
    write_picture(output, draw_explanation(frame_bgr, explanation))
    click.echo("\n".join([ran, *explanation_lines(explanation)]))
    click.echo(f"wrote {output}")


def explanation_lines(explanation: Explanation) -> list[str]:
    """What was explained, where its heat lies, and how the map did when it was tried."""
    target, check = explanation.target, explanation.check
    place = ""
    if explanation.box is not None:
        place = " at " + ",".join(f"{value:.0f}" for value in explanation.box)
    unit = "of the picture" if target.region is not None else "score"
    lines = [f"{target.name}{place}: {unit} {target.score:.3f}"]
    if explanation.inside is not None and explanation.inside_area is not None:
        what = "box" if explanation.box is not None else "region"
        lines.append(
            f"heat inside the {what}: {100 * explanation.inside:.0f} %"
            f" (the {what} is {100 * explanation.inside_area:.0f} % of the picture)"
        )
    share = f"{100 * PROBED_SHARE:.0f} %"
    lines.append(
        f"whole picture {check.whole:.3f}; hottest {share} hidden {check.hottest_hidden:.3f}; random {share} hidden"
        f" {check.random_hidden:.3f}; hottest {share} alone {check.hottest_shown:.3f}"
    )
    if not check.holds:
        lines.append(
            "the map does not hold: hiding what it calls hot costs little more than hiding random places;"
            f" try more masks than {explanation.options.masks}"
        )
    return lines
