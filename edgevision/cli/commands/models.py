"""`edgevision models`."""

from __future__ import annotations

import click

from edgevision.bundle.folder import Bundle
from edgevision.bundle.packaged import PACKAGED
from edgevision.cli.present import table
from edgevision.contract.spec import FrameInput


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
        taken = bundle.spec.input
        size = sum(file.stat().st_size for file in model.path.iterdir())
        rows.append(
            [
                model.name,
                bundle.spec.task,
                "x".join(map(str, taken.size_wh)) if isinstance(taken, FrameInput) else "noise",
                f"{size / 2**20:.1f} MiB",
                model.accuracy,
                model.use,
            ]
        )
    click.echo("\n".join(table(["name", "task", "input", "size", "accuracy", "for"], rows)))
