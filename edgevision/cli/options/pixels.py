"""Options for the pixel format of a network whose file may not state it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import click

from edgevision.cli.options.types import FACTOR, THREE


class PixelOptions(NamedTuple):
    """The stated parts of a pixel format, in the order of `graph.foreign.pixels.PixelChanges`."""

    order: Literal["rgb", "bgr"] | None
    scale: float | None
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None


_OPTIONS = (
    click.option(
        "--colour",
        type=click.Choice(("rgb", "bgr")),
        help="Channel order of the network's input. Default: the file's, else that of the head or recipe.",
    ),
    click.option(
        "--scale",
        type=FACTOR,
        help="Factor for pixel values 0..255, before --mean and --std. Default: 1/255 with --mean or --std.",
    ),
    click.option(
        "--mean",
        type=THREE,
        help="Mean, subtracted from value * scale, in the network's channel order. Default: 0 with --std or --scale.",
    ),
    click.option(
        "--std",
        type=THREE,
        help="Divisor after the mean, in the same units and order. Default: 1 with --mean or --scale.",
    ),
)


def pixel_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--colour --scale --mean --std``; the function gets them as `pixels`, a `PixelOptions`."""

    @functools.wraps(function)
    def with_pixels(*args: Any, colour: Any, scale: Any, mean: Any, std: Any, **kwargs: Any) -> Any:
        return function(*args, pixels=PixelOptions(colour, scale, mean, std), **kwargs)

    wrapped: Callable[..., Any] = with_pixels
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
