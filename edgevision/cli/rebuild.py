"""`--rebuild`: the engine is built from the bundle's graph first, where none fits this device."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from edgevision.errors import EngineError, UsageError
from edgevision.spec import Precision


def rebuild_unfit(
    ctx: click.Context, bundle: Path, engine: str | None, precision: Precision | None = None
) -> None:
    """Run the command that the refusal would have named; nothing is built where an engine fits.

    Raises `UsageError` for an engine that is not built, `EngineError` where building would not help, and whatever the
    build raises.
    """
    from edgevision.build.library import load_library, running_here
    from edgevision.build.manifest import Rebuild, Refuse
    from edgevision.build.store import choose_engine
    from edgevision.build.versions import FLAVOURS
    from edgevision.bundle import Bundle
    from edgevision.cli.build import command as build

    flavour = {str(name): name for name in FLAVOURS}.get(engine or "")
    if flavour is None:
        raise UsageError(f"--rebuild needs --engine tensorrt or tensorrt-rtx; received {engine or 'none'}")
    library = load_library(flavour, "--rebuild")
    decision = choose_engine(Bundle.open(bundle), running_here(library), precision)
    if isinstance(decision, Refuse):
        raise EngineError(str(decision))
    if isinstance(decision, Rebuild):
        click.echo(f"{decision.reason}; building", err=True)
        options = decision.command.removeprefix(f"edgevision build {bundle}")
        with build.make_context("build", [str(bundle), *shlex.split(options)], parent=ctx) as child:
            build.invoke(child)
