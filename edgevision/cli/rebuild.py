"""`--build`: the engine is built from the bundle's graph first, where none fits this device."""

from __future__ import annotations

from pathlib import Path

import click

from edgevision.contract.spec import Precision


def rebuild_unfit(
    ctx: click.Context, bundle: Path, engine: str | None, precision: Precision | None = None
) -> None:
    """Build what a refusal would have named; nothing where an engine fits.

    Raises `UsageError` for an engine that is not built, `EngineError` where building would not help, and whatever the
    build raises.
    """
    from edgevision.builder.missing import engine_needed
    from edgevision.cli.commands.build import build_shown

    need = engine_needed(bundle, engine, precision, "--build")
    if need is not None:
        click.echo(f"{need.rebuild.reason}; building", err=True)
        build_shown(ctx, need.bundle, need.library, need.rebuild.request)
