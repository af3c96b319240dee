"""Options that commands share that make images, or codes of images."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgevision.cli.options.groups import graph_options
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import ENGINES

Command = Callable[..., Any]


def opening_options(command: Command) -> Command:
    """Engine, threads and graph; the command receives `engine`, and `opening` with the rest."""

    @functools.wraps(command)
    def with_opening(
        *args: Any,
        threads: int | None,
        precision: Precision | None,
        device: str | None,
        force: bool,
        **kwargs: Any,
    ) -> Any:
        opening = SessionOptions(threads=threads, precision=precision, device=device, force=force)
        return command(*args, opening=opening, **kwargs)

    decorated: Command = graph_options(with_opening)
    decorated = click.option(
        "--threads", type=click.IntRange(min=1), help="CPU threads of the engine. Default: all cores."
    )(decorated)
    return click.option(
        "--engine", type=click.Choice(ENGINES), help="Engine to run. Default: the fastest verified one."
    )(decorated)


def output_options(sheet: str) -> Callable[[Command], Command]:
    """Where images are written, and whether the files state their origin; `sheet` names an image of all images."""

    def decorate(command: Command) -> Command:
        decorated = click.option(
            "--no-metadata", is_flag=True, help="Do not state in the files that a model made them."
        )(command)
        return click.option(
            "-o",
            "--output",
            type=click.Path(path_type=Path),
            required=True,
            metavar="DIR|FILE.png",
            help=f"Folder for one PNG file per image, or a PNG file for a {sheet} of all.",
        )(decorated)

    return decorate
