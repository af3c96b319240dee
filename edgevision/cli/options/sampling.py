"""Options for the run of a diffusion pipeline that a graph contains."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from edgevision.cli.options.numbers import FiniteRange


class SamplingOptions(NamedTuple):
    """The stated settings of a run; None: the pipeline's usual ones."""

    steps: int | None
    guidance: float | None


_OPTIONS = (
    click.option(
        "--steps",
        type=click.IntRange(min=1),
        help="Steps of a diffusion pipeline, all in one graph. Default: 20; 4 and 1 for pipelines made for few steps.",
    ),
    click.option(
        "--guidance",
        type=FiniteRange(min=0),
        help="Guidance scale of a diffusion pipeline; at most 1: none. Default: 7.5; 0 for pipelines made for one"
        " step.",
    ),
)


def sampling_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--steps --guidance``; the function gets them as `sampling`, a `SamplingOptions`."""

    @functools.wraps(function)
    def with_sampling(*args: Any, steps: Any, guidance: Any, **kwargs: Any) -> Any:
        return function(*args, sampling=SamplingOptions(steps, guidance), **kwargs)

    wrapped: Callable[..., Any] = with_sampling
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
