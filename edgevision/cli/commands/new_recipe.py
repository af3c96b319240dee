"""`edgevision new-recipe`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edgevision.cli.skeletons import TASKS, write_skeleton


@click.command()
@click.argument("name")
@click.option("--task", type=click.Choice(TASKS), required=True, help="Task of the network.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder to write into. Default: the current one.",
)
@click.option("--force", is_flag=True, help="Replace existing files.")
def command(name: str, task: str, folder: Path, force: bool) -> None:
    """Write NAME.py, a recipe for a network of your own, and its test.

    NAME.py contains a small network with random weights, and can be exported unchanged. Replace the network and its
    weights with yours. test_NAME.py exports the recipe, verifies the bundle and runs it.
    """
    recipe, test = write_skeleton(name, task, folder, force=force)
    shown, shown_test = (os.path.relpath(path) for path in (recipe, test))
    click.echo(f"wrote {shown} and {shown_test}\nnext:")
    click.echo(f"  pytest {shown_test}")
    click.echo(f"  edgevision export {shown} -o {name}")
    if task == "generate":
        click.echo(f"  edgevision generate {name} --count 16 -o {name}.png")
    else:
        click.echo(f"  edgevision run {name} demo: --limit 100 --jsonl {name}.jsonl")
