"""Implements `--build`: builds an engine from the bundle's graph if none fits this device."""

from __future__ import annotations

from pathlib import Path

import click

from edgevision.contract.session import SessionOptions


def rebuild_unfit(ctx: click.Context, bundle: Path, engine: str | None, options: SessionOptions) -> None:
    """Build the engine that is missing; do nothing if one fits.

    Raises `UsageError` for an engine that has no build step, `EngineError` if a build would not help, and errors of the
    build.
    """
    from edgevision.builder.missing import engine_needed
    from edgevision.cli.commands.build import build_shown

    need = engine_needed(bundle, engine, options, "--build")
    if need is not None:
        click.echo(f"{need.rebuild.reason}; building", err=True)
        build_shown(ctx, need.bundle, need.library, need.rebuild.request)
