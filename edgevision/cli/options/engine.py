"""Options of the commands that open an engine for cameras."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from edgevision.cli.options.numbers import FiniteRange
from edgevision.engines.opening import ENGINES

Command = TypeVar("Command", bound=Callable[..., object])


def engine_options(command: Command) -> Command:
    """``--engine``, ``--iou``, ``--rebuild`` and ``--allow-fallback``, as arguments of these names."""
    fallback = click.option(
        "--allow-fallback",
        is_flag=True,
        help="Let the CPU run what ONNX Runtime's GPU provider does not take.",
    )
    rebuild = click.option(
        "--rebuild", is_flag=True, help="Build the TensorRT engine first if none fits this device."
    )
    iou = click.option(
        "--iou",
        type=FiniteRange(0, 1, min_open=True, max_open=True),
        help="Suppress boxes that overlap a better one by more. Default: as exported.",
    )
    engine = click.option(
        "--engine", type=click.Choice(ENGINES), help="Default: the first that is installed."
    )
    return engine(iou(rebuild(fallback(command))))
