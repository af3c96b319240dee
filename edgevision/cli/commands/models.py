"""`edgevision models`."""

from __future__ import annotations

import click

from edgevision.bundle.folder import Bundle
from edgevision.bundle.packaged import PACKAGED
from edgevision.cli.present import table


@click.command()
def command() -> None:
    """List the bundles that come with the package.

    Their names stand in place of a path in every command: edgevision run street 0 --show
    """
    rows = []
    for model in PACKAGED:
        if not model.path.is_dir():
            continue
        bundle = Bundle.open(model.path)
        width, height = bundle.spec.frames.size_wh
        size = sum(file.stat().st_size for file in model.path.iterdir())
        rows.append(
            [
                model.name,
                bundle.spec.task,
                f"{width}x{height}",
                f"{size / 2**20:.1f} MiB",
                model.accuracy,
                model.use,
            ]
        )
    click.echo("\n".join(table(["name", "task", "input", "size", "accuracy", "for"], rows)))
